"""What today's toolchains make of the same checkpoint: onnxruntime's quantizers on our fp32 export, with the loop in Python."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurc.dataset import Dataset
from recurc.evaluate.runs import record
from recurc.evaluate.stepping import EngineStepper
from recurc.exchange.onnx_engine import OnnxEngine
from recurc.exchange.onnx_export import export_onnx, require, write_loop
from recurc.exchange.onnx_loop import OnnxLoop
from recurc.models.reasoner import Reasoner
from recurc.quant.model import QuantizedModel, quantize_model
from recurc.quant.weights import precision_named
from recurc.reading import matching
from recurc.study.store import files_version

CALIBRATION_PUZZLES = 16
MOST_FEEDS = 256  # block inputs that static calibration sees, as many as the study's own measurement took


@dataclass(frozen=True)
class Peer:
    """One of onnxruntime's ways to int8. kind: "dynamic" or "static"."""

    name: str
    kind: str
    definition: str


PEERS = (
    Peer(
        "onnxruntime int8 dynamic",
        "dynamic",
        "quantize_dynamic: int8 weights a channel, activations a scale a tensor, found at every call; the loop in Python",
    ),
    Peer(
        "onnxruntime int8 static",
        "static",
        "quantize_static, QDQ, MatMul only, min-max: int8 weights a channel, activations "
        f"a scale a tensor from {CALIBRATION_PUZZLES} training puzzles; the loop in Python",
    ),
)


def fp32_model(reasoner: Reasoner) -> QuantizedModel:
    """The checkpoint as it is, for export."""
    return quantize_model(reasoner, precision_named("fp32"))


def onnx_stepper(loop: OnnxLoop, model: QuantizedModel) -> EngineStepper:
    """Steps a model that was exported."""

    def puzzle(puzzle_id: int) -> np.ndarray | int:
        return puzzle_id if model.program.puzzle_table is None else model.puzzle_rows(np.array([puzzle_id]))[0]

    return EngineStepper(OnnxEngine(loop, puzzle))


def _trajectory_feeds(folder: Path, model: QuantizedModel, sample: Dataset) -> dict[str, list[Mapping[str, np.ndarray]]]:
    """Inputs of each graph along the fp32 model's real trajectories: file name -> feeds, evenly thinned."""
    feeds: dict[str, list[Mapping[str, np.ndarray]]] = {}
    loop = OnnxLoop(folder, optimized=True)
    loop.observe = lambda file, feed: feeds.setdefault(file, []).append({k: v.copy() for k, v in feed.items()})
    count = min(CALIBRATION_PUZZLES, len(sample))
    stepper = onnx_stepper(loop, model)
    record(stepper, sample.inputs[:count], sample.puzzle_ids[:count], min(4, model.program.steps))
    return {file: found[:: max(1, len(found) // MOST_FEEDS)][:MOST_FEEDS] for file, found in feeds.items()}


def quantized_by_onnxruntime(reasoner: Reasoner, peer: Peer, sample: Dataset, folder: Path) -> EngineStepper:
    """Export the checkpoint in fp32 and let onnxruntime's own tool quantize its blocks and heads.

    Args:
        sample: training puzzles; static calibration runs the first of them.
        folder: an empty folder to work in.

    Raises:
        ToolchainError: onnx or onnxruntime is not installed.
    """
    require("onnx", "onnxruntime")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

    class Feeds(CalibrationDataReader):  # type: ignore[misc] # onnxruntime gives it no types
        def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
            self._left: Iterator[Any] = iter(feeds)

        def get_next(self) -> Any:
            return next(self._left, None)

    model = fp32_model(reasoner)
    document = export_onnx(model, folder)
    feeds = _trajectory_feeds(folder, model, sample) if peer.kind == "static" else {}
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # the tools tell every node
    try:
        for entry in (*document["blocks"].values(), document["heads"]):
            source = folder / entry["file"]
            plain = source.rename(source.with_suffix(".fp32.onnx"))
            if peer.kind == "dynamic":
                quantize_dynamic(plain, source, per_channel=True, weight_type=QuantType.QInt8)
            else:
                quantize_static(
                    plain,
                    source,
                    Feeds(feeds[entry["file"]]),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    op_types_to_quantize=["MatMul"],
                )
    finally:
        logging.getLogger().setLevel(before)
    write_loop(document, folder)
    return onnx_stepper(OnnxLoop(folder, optimized=True), model)


def peer_version() -> str:
    """What decides a peer's results beside the model: this file and the version of onnxruntime.

    Raises:
        ToolchainError: onnxruntime is not installed.
    """
    require("onnx", "onnxruntime")
    import onnxruntime

    return f"{onnxruntime.__version__} {files_version(('study/peers.py', 'exchange'), Path(__file__).resolve().parents[1])}"


def stored_bytes(folder: Path) -> int:
    """Bytes of the graphs that a device would hold."""
    return sum(f.stat().st_size for f in matching(folder, "*.onnx") if not f.name.endswith(".fp32.onnx"))
