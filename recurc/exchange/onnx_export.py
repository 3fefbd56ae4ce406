"""A quantized model as ONNX: one file a block, one for the heads, one for the start, and the loop around them as JSON."""

from __future__ import annotations

import importlib.util
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from recurc.arguments import argument
from recurc.build.listing import file_sha256
from recurc.errors import ToolchainError, UsageError
from recurc.files import make_folder, write_whole
from recurc.formats import parse_json
from recurc.ir.program import Loop, Update
from recurc.quant.model import QuantizedModel
from recurc.reading import read_text
from recurc.recursion import INPUT

LOOP_FILE = "loop.json"
SCHEMA = "recurc/onnx-loop/1"


def other_folder() -> str:
    """What to do where the graphs cannot be written."""
    return f"Name another folder with {argument('out', option='onnx')}"


def require(*modules: str) -> None:
    """That optional packages are installed.

    Raises:
        ToolchainError: one is missing.
    """
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        raise ToolchainError(
            f"{' and '.join(absent)} is not installed",
            where="Python",
            why="ONNX is an extra of recurc",
            next="Install it: pip install " + " ".join(absent),
        )


def _schedule(body: tuple[Loop | Update, ...]) -> list[dict[str, Any]]:
    """The schedule as JSON: {"loop", "count", "body"} and {"state", "add", "block"} in order."""
    found: list[dict[str, Any]] = []
    for item in body:
        if isinstance(item, Loop):
            found.append({"loop": item.name, "count": item.count, "body": _schedule(item.body)})
        else:
            found.append({"state": item.state, "add": list(item.sources), "block": item.block})
    return found


def loop_document(model: QuantizedModel) -> dict[str, Any]:
    """What `loop.json` says: the files with their in- and outputs, and the loop of a supervision step."""
    c, p = model.config, model.program
    puzzle = None
    if c.puzzle_emb_ndim:
        puzzle = "number" if p.puzzle_table is None else "row"
    return {
        "schema": SCHEMA,
        "name": model.name,
        "precision": model.label,
        "carry": p.carry,
        "seq_len": c.seq_len,
        "vocab": c.vocab_size,
        "rows": c.rows,
        "hidden": c.hidden_size,
        "steps": p.steps,
        "halt_rule": c.halt_rule,
        "start": {
            "file": "start.onnx",
            "inputs": ["tokens"] + (["puzzle"] if puzzle else []),
            "puzzle": puzzle,
            "outputs": [INPUT, *(state.name for state in p.states)],
        },
        "blocks": {b.name: {"file": f"block_{b.name}.onnx", "inputs": ["z", "added"], "outputs": ["next"]} for b in p.blocks},
        "heads": {"file": "heads.onnx", "inputs": ["z"], "from": p.heads.state, "outputs": ["logits", "q"]},
        "step": _schedule(p.schedule.body),
        "reads": "A step runs `step` in order. An update sums `add` from left to right, runs its block with z = the state and "
        "added = that sum, and puts `next` in the state's place. After a step the heads read "
        f"{p.heads.state}; the answer is the argmax of the logits.",
    }


def export_onnx(model: QuantizedModel, out: Path) -> dict[str, Any]:
    """Write a model to the folder `out` (made when missing); returns the loop's document.

    Raises:
        ToolchainError: onnx is not installed. UsageError: `out` holds something else. InputError: it cannot be written.
    """
    require("onnx")
    from recurc.exchange import onnx_graph

    document = loop_document(model)
    entries = [document["start"], *document["blocks"].values(), document["heads"]]
    _check_ours(out, [entry["file"] for entry in entries])
    make_folder(out, "the ONNX folder", other_folder())
    onnx_graph.write_start(model, out / document["start"]["file"])
    for block in model.program.blocks:
        onnx_graph.write_block(model, block, out / document["blocks"][block.name]["file"])
    onnx_graph.write_heads(model, out / document["heads"]["file"])
    write_loop(document, out)
    return document


def write_loop(document: dict[str, Any], out: Path) -> None:
    """Write the loop's document beside its graphs, last, with what they are now.

    Raises:
        InputError: it cannot be written.
    """
    for entry in (document["start"], *document["blocks"].values(), document["heads"]):
        entry["sha256"] = file_sha256(out / entry["file"])
    write_whole(out / LOOP_FILE, json.dumps(document, indent=1) + "\n", LOOP_FILE, other_folder(), follow=False)


def _check_ours(out: Path, files: list[str]) -> None:
    """That nothing is written over that is of no export. Raises UsageError."""
    if not os.path.lexists(out):
        return
    why = "it is no folder"
    if out.is_dir():
        there = [name for name in (LOOP_FILE, *files) if os.path.lexists(out / name)]
        graphs: set[str] = set()
        why = f"it exists and has no {LOOP_FILE} of recurc's"
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            said = parse_json(read_text(out / LOOP_FILE))
            if said["schema"] == SCHEMA:
                graphs = {entry["file"] for entry in (said["start"], *said["blocks"].values(), said["heads"])}
        if not any(out.iterdir()) or (graphs and {*there} <= {LOOP_FILE, *graphs}):
            return
        if graphs:
            other = next(name for name in there if name not in (LOOP_FILE, *graphs))
            why = f"{other} is there, and {LOOP_FILE} does not name it"
    raise UsageError(
        "the output folder holds something else", where=str(out), why=why, next="Name another folder, or remove it yourself"
    )
