"""A quantized model as ONNX: one file a block, one for the heads, one for the start, and the loop around them as JSON."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from recurc.errors import ToolchainError, UsageError
from recurc.ir.program import Loop, Update
from recurc.quant.model import QuantizedModel

LOOP_FILE = "loop.json"
SCHEMA = "recurc/onnx-loop/1"


def require(*modules: str) -> None:
    """That optional packages are installed.

    Raises:
        ToolchainError: one is missing.
    """
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        raise ToolchainError(
            f"{' and '.join(absent)} is not installed", where="Python", why="ONNX is an extra of recurc",
            next="Install it: pip install 'recurc[onnx]'")


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
        "schema": SCHEMA, "name": model.name, "precision": model.label, "carry": p.carry, "seq_len": c.seq_len,
        "vocab": c.vocab_size, "rows": c.rows, "hidden": c.hidden_size, "steps": p.steps, "halt_rule": c.halt_rule,
        "start": {"file": "start.onnx", "inputs": ["tokens"] + (["puzzle"] if puzzle else []), "puzzle": puzzle,
                  "outputs": ["X", "z_H", "z_L"]},
        "blocks": {b.name: {"file": f"block_{b.name}.onnx", "inputs": ["z", "added"], "outputs": ["next"]} for b in p.blocks},
        "heads": {"file": "heads.onnx", "inputs": ["z"], "from": "z_H", "outputs": ["logits", "q"]},
        "step": _schedule(p.schedule.body),
        "reads": "A step runs `step` in order. An update sums `add` from left to right, runs its block with z = the state and "
                 "added = that sum, and puts `next` in the state's place. After a step the heads read z_H; the answer is "
                 "the argmax of the logits.",
    }


def export_onnx(model: QuantizedModel, out: Path) -> dict[str, Any]:
    """Write a model to the folder `out` (made when missing); returns the loop's document.

    Raises:
        ToolchainError: onnx is not installed. UsageError: `out` holds something else.
    """
    require("onnx")
    from recurc.exchange import onnx_graph

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / LOOP_FILE).is_file())):
        raise UsageError("the output folder holds something else", where=str(out), why=f"it exists and has no {LOOP_FILE}",
                         next="name another folder, or remove it yourself")
    out.mkdir(parents=True, exist_ok=True)
    (out / LOOP_FILE).unlink(missing_ok=True)  # the last file to appear: a folder with it is whole
    document = loop_document(model)
    onnx_graph.write_start(model, out / document["start"]["file"])
    for block in model.program.blocks:
        onnx_graph.write_block(model, block, out / document["blocks"][block.name]["file"])
    onnx_graph.write_heads(model, out / document["heads"]["file"])
    (out / LOOP_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document
