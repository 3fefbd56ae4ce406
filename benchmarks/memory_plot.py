"""The picture in memory.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.own_memory import Figures

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  the backend is chosen first

THEIRS = (("head", "TFLM: activations and scratch", "#c26a3d"), ("tail", "TFLM: metadata", "#e3b295"))
OURS = (
    ("carry", "recurc: z_H and z_L", "#1f4e79"),
    ("kv", "recurc: K, V, mixed values", "#3f86c2"),
    ("scratch", "recurc: scratch", "#8bb9dd"),
    ("io", "recurc: in, out", "#c3d9ec"),
    ("data", "recurc: data", "#8a8a8a"),
    ("stack", "recurc: stack", "#bdbdbd"),
)
MB = 1e6


def draw(path: Path, subjects: list[tuple[str, list[dict[str, Any]], list[Figures]]]) -> None:
    """One panel a shape, one bar a firmware or graph; megabytes (10^6)."""
    bars = [_bars(results, figures) for _, results, figures in subjects]
    fig, axes = plt.subplots(
        len(subjects),
        1,
        figsize=(9, 1.6 + 0.3 * sum(map(len, bars))),
        layout="constrained",
        height_ratios=[len(b) for b in bars],
    )
    known: dict[str, Any] = {}
    for axis, (title, _, _), panel in zip(axes, subjects, bars):
        for y, (_, pieces) in enumerate(panel):
            left = 0.0
            for label, color, size in pieces:
                known.setdefault(label, axis.barh(y, size / MB, left=left, color=color, height=0.75))
                left += size / MB
            axis.text(left, y, f" {left:.2f}", va="center", fontsize=8)
        axis.set_yticks(range(len(panel)), [name for name, _ in panel], fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.08)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlabel("RAM, MB", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    order = [label for _, label, _ in (*THEIRS, *OURS) if label in known]
    fig.legend([known[label] for label in order], order, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    fig.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(fig)


def _bars(results: list[dict[str, Any]], figures: list[Figures]) -> list[tuple[str, list[tuple[str, str, int]]]]:
    found = []
    for r in results:
        v = r["variant"]
        if v["weights"] == "float32":
            continue
        heads = ", heads together" if v["heads"] == "together" else ""
        found.append((f"TFLM {v['weights']}, {v['graph']}{heads}", [(label, color, r[key]) for key, label, color in THEIRS]))
    fitting = [f.board for f in figures if f.problem is None]
    board = max(fitting, key=fitting.count, default="")  # the first of those that take most of the firmwares
    for f in figures:
        if f.problem is None and f.board == board:
            sizes = {**f.kinds, "data": f.data, "stack": f.stack}
            pieces = [(label, color, sizes[key]) for key, label, color in OURS if sizes[key]]
            found.append((f"recurc {f.precision}, carry {f.carry}", pieces))
    return found
