"""How a build folder lists what it consists of: the manifest's name and schema, and the digests that stand for content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "recurc-build.json"
SCHEMA = "recurc/build-folder/4"
TABLE_FILE = "tables/puzzles.rct"  # the streamed puzzle table, when the model has one


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(document: Mapping[str, Any]) -> str:
    """sha256 over everything else in the manifest: damage to it is found like damage to a file."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
