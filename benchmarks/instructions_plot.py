"""The picture in instructions.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  the backend is chosen first

COLORS = {
    ("ours", "int4"): "#1f4e79",
    ("ours", "int8"): "#8bb9dd",
    ("ours", "int4-g32"): "#5c8f6b",
    ("peer", "int4"): "#c26a3d",
    ("peer", "int8"): "#e3b295",
}
Bar = tuple[str, str, str, float]  # core, weights, name, instructions a MAC


def draw(path: Path, ours: Sequence[Bar], peers: Sequence[Bar]) -> None:
    """One panel a core, one bar a kernel: instructions a multiplication of the first shape."""
    cores = list(dict.fromkeys(core for core, *_ in ours))
    panels = [[("ours", b) for b in ours if b[0] == core] + [("peer", b) for b in peers if b[0] == core] for core in cores]
    fig, axes = plt.subplots(
        len(cores),
        1,
        figsize=(9, 1.2 + 0.32 * sum(map(len, panels))),
        layout="constrained",
        height_ratios=[len(p) for p in panels],
    )
    for axis, core, panel in zip(axes, cores, panels):
        for y, (side, (_, weights, _, value)) in enumerate(panel):
            axis.barh(y, value, color=COLORS[side, weights], height=0.75)
            axis.text(value, y, f" {value:.2f}", va="center", fontsize=8)
        axis.set_yticks(range(len(panel)), [f"{name}, {weights}" for _, (_, weights, name, _) in panel], fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.1)
        axis.set_title(core, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("instructions a multiplication, whole layer [97x512]x[512x3072]", fontsize=8)
    fig.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(fig)
