"""Which documents are published as JSON Schemas, by the name of their file."""

from __future__ import annotations

from recurc.documents.commands import Built, Diagnosis, Evaluated, Failed, Inspected, Refused, Updated, VerifyDocument
from recurc.documents.manifest import Manifest
from recurc.documents.onnx import OnnxVerifyDocument
from recurc.documents.plan import Plan
from recurc.documents.report import Report
from recurc.documents.running import RunDocument

# What a command writes with --json is one of its documents, with its schema's name before it and what is to be said after it.
COMMANDS: dict[str, tuple[type, ...]] = {
    "build": (Built, Updated, Refused, Failed),
    "doctor": (Diagnosis, Failed),
    "eval": (Evaluated, Failed),
    "inspect": (Inspected, Failed),
    "report": (Report, Failed),
    "run": (RunDocument, Failed),
    "verify": (VerifyDocument, OnnxVerifyDocument, Failed),
}
FILES: dict[str, type] = {"manifest": Manifest, "plan": Plan}  # documents that stand alone
