"""The picture in host.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  the backend is chosen first


def draw(path: Path, steps: dict[str, Any]) -> None:
    """One bar a runtime: milliseconds of CPU time a step on one thread."""
    names = sorted(steps, key=lambda n: steps[n]["1 threads, 1 puzzles"]["cpu"])
    values = [steps[n]["1 threads, 1 puzzles"]["cpu"] for n in names]
    fig, axis = plt.subplots(figsize=(8, 0.6 + 0.35 * len(names)), layout="constrained")
    axis.barh(range(len(names)), values, color=["#1f4e79" if n.startswith("recurc") else "#c26a3d" for n in names], height=0.7)
    for y, value in enumerate(values):
        axis.text(value, y, f" {value:.0f}", va="center", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.08)
    axis.set_xlabel("ms of CPU time a supervision step, one thread", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    fig.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(fig)
