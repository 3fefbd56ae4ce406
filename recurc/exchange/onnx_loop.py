"""Runs an exported model in onnxruntime: the loop of `loop.json` in Python. It knows nothing of the C engine or the IR."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recurc.build.listing import file_sha256
from recurc.errors import InputError
from recurc.exchange.onnx_export import LOOP_FILE, SCHEMA, require
from recurc.formats import parse_json
from recurc.reading import Unreadable, not_read, read_text, shown
from recurc.types import I64Array

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TURNS = 100_000


def read_loop(folder: Path) -> dict[str, Any]:
    """loop.json of an exported model: its graphs lie in `folder`, its steps name blocks and tensors that there are.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        loop: Any = parse_json(read_text(folder / LOOP_FILE))
        stated = loop.get("schema") if isinstance(loop, dict) else None
        if stated != SCHEMA:
            raise Unreadable(f"its schema is {shown(stated)}, this recurc reads {SCHEMA!r}")
        blocks = loop.get("blocks")
        if not isinstance(blocks, dict) or not all(isinstance(name, str) for name in blocks):
            raise Unreadable("it names no blocks")
        for entry in (loop.get("start"), loop.get("heads"), *blocks.values()):
            file = entry.get("file") if isinstance(entry, dict) else None
            if not isinstance(file, str) or not _FILE.fullmatch(file):
                raise Unreadable(f"{shown(file)} is no graph's file in this folder")
        if not isinstance(loop["start"].get("puzzle") or "", str):
            raise Unreadable("what it says of puzzles is no text")
        states = loop["start"].get("outputs")
        if not isinstance(states, list) or not all(isinstance(name, str) for name in states):
            raise Unreadable("its start gives no states")
        if loop["heads"].get("from") not in states:
            raise Unreadable("its heads read no state")
        _check_steps(loop.get("step"), blocks, states)
    except Unreadable as e:
        raise not_read(
            e, folder / LOOP_FILE, "the exported model", "this is not an exported model", "Write one with `recurc export`"
        ) from None
    return dict(loop)


def _check_steps(body: Any, blocks: Mapping[str, Any], states: Sequence[str]) -> None:
    if not isinstance(body, list):
        raise Unreadable("a part of its step is no list")
    for item in body:
        if isinstance(item, dict) and "loop" in item:
            if type(item.get("count")) is not int or not 0 <= item["count"] <= _TURNS:
                raise Unreadable(f"a loop turns {shown(item.get('count'))} times")
            _check_steps(item.get("body"), blocks, states)
            continue
        added = item.get("add") if isinstance(item, dict) else None
        if not isinstance(added, list) or not added or any(n not in states for n in added):
            raise Unreadable("a part of its step adds no states")
        if item.get("state") not in states or not isinstance(item.get("block"), str) or item["block"] not in blocks:
            raise Unreadable("a part of its step names no state, or no block")


class OnnxLoop:
    """An exported model and its state: what its start gives (X, z_H, z_L) [S, D], logits [seq, vocab], q [2], float32.

    Args:
        folder: what `export_onnx` wrote.
        optimized: let onnxruntime fuse nodes, as its users do; else graphs run node by node, as they are written.

    Raises:
        ToolchainError: onnxruntime is not installed. InputError: not an exported model, or a damaged one.
    """

    def __init__(self, folder: Path, threads: int = 1, optimized: bool = False) -> None:
        require("onnxruntime")
        import onnxruntime as ort

        self.loop = read_loop(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL

        def session(entry: dict[str, Any]) -> Any:
            stated = entry.get("sha256")  # an export of before has none
            if stated is not None and (folder / entry["file"]).is_file() and file_sha256(folder / entry["file"]) != stated:
                raise InputError(
                    "an exported graph is not the one that loop.json names",
                    where=str(folder / entry["file"]),
                    why="an export was interrupted, or the file was changed",
                    next="write it again with `recurc export`",
                )
            try:
                return ort.InferenceSession(str(folder / entry["file"]), options, providers=["CPUExecutionProvider"])
            except Exception as e:  # onnxruntime's own exceptions have no common base that is documented
                raise InputError(
                    "an exported graph cannot be loaded",
                    where=str(folder / entry["file"]),
                    why=str(e),
                    next="write it again with `recurc export`",
                ) from e

        self._start, self._heads = session(self.loop["start"]), session(self.loop["heads"])
        absent = set(self.loop["start"]["outputs"]) - {output.name for output in self._start.get_outputs()}
        if absent:
            raise InputError(
                "this is not an exported model",
                where=str(folder / self.loop["start"]["file"]),
                why=f"it gives no {', '.join(sorted(absent))}",
                next="write it again with `recurc export`",
            )
        self._blocks = {name: session(entry) for name, entry in self.loop["blocks"].items()}
        self.observe: Callable[[str, dict[str, np.ndarray]], None] | None = None  # told file and inputs of every call
        self.state: dict[str, np.ndarray] = {}
        self.logits = self.q = np.zeros(0, np.float32)

    def clone(self) -> OnnxLoop:
        """Another one over the same graphs, with its own state."""
        other = copy.copy(self)
        other.state = {}
        return other

    def begin(self, tokens: np.ndarray, puzzle: np.ndarray | int | None = None) -> None:
        """Load a puzzle: tokens [seq]; puzzle: its number, or its row [ndim] where loop.json says so."""
        feed = {"tokens": np.asarray(tokens, dtype=np.int64)}
        if kind := self.loop["start"]["puzzle"]:
            feed["puzzle"] = np.asarray(puzzle, np.float32) if kind == "row" else np.array([puzzle], np.int64)
        names = self.loop["start"]["outputs"]
        self.state = dict(zip(names, self._start.run(names, feed)))

    def step(self) -> None:
        """One supervision step, then the heads."""
        self._run(self.loop["step"])
        feed = {"z": self.state[self.loop["heads"]["from"]]}
        self._told(self.loop["heads"], feed)
        self.logits, self.q = self._heads.run(["logits", "q"], feed)

    def _told(self, entry: dict[str, Any], feed: dict[str, np.ndarray]) -> None:
        if self.observe:
            self.observe(entry["file"], feed)

    def _run(self, body: list[dict[str, Any]]) -> None:
        for item in body:
            if "loop" in item:
                for _ in range(item["count"]):
                    self._run(item["body"])
                continue
            added, *rest = (self.state[name] for name in item["add"])
            for more in rest:
                added = added + more
            feed = {"z": self.state[item["state"]], "added": added}
            self._told(self.loop["blocks"][item["block"]], feed)
            self.state[item["state"]] = self._blocks[item["block"]].run(["next"], feed)[0]

    @property
    def tokens(self) -> np.ndarray:
        """Predicted tokens [seq]."""
        tokens: I64Array = self.logits.argmax(axis=-1)
        return tokens.astype(np.uint8)
