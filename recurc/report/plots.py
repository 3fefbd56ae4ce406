"""Plots of sweeps, as PNG files and as SVG that takes the page's colours, light or dark. Needs matplotlib, an extra."""

from __future__ import annotations

import io
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

Line = Mapping[str, Any]  # a row of a sweep, see recurc.study.sweep.Row.as_dict
Drawing = Callable[[Any], None]  # draws on a figure

# Middling colours that are seen on white and on black; the two others stand for the page's own.
SERIES = ("#3b7dd8", "#e07b39", "#2f9e62", "#b453c6", "#d4453f", "#9a8a12", "#1f9bab", "#946c4b", "#7a74d9", "#c2578d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_FG, _LINE = "#1b1f25", "#d0d7df"
_NINES = 5  # cosines are drawn up to 1 - 10^-5


def have_matplotlib() -> bool:
    """Whether plots can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def _style(salt: str) -> Iterator[Any]:
    import matplotlib

    settings = {
        "svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9, "axes.grid": True, "grid.color": _LINE,
        "grid.linewidth": 0.6,
        "axes.edgecolor": _LINE, "axes.labelcolor": _FG, "text.color": _FG, "xtick.color": _FG, "ytick.color": _FG,
        "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(settings):
        yield matplotlib


def render(name: str, draw: Drawing, folder: Optional[Path] = None) -> str:
    """Draw a figure; SVG for a page, and NAME.png in `folder` when that is given."""
    with _style(name):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.9), layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": "recurc"})
        if folder is not None:
            FigureCanvasAgg(figure).print_figure(folder / f"{name}.png", dpi=130, facecolor="white")
    svg = text.getvalue()
    svg = svg[svg.index("<svg"):].replace(_FG, "var(--fg)").replace(_LINE, "var(--line)").replace('id="', f'id="{name}-')
    for use in ('href="#', "url(#"):
        svg = svg.replace(use, f"{use}{name}-")
    return svg


def nines(phi: float) -> float:
    """A cosine's height on an axis that spreads what is close to 1: 0.9 is 1, 0.99 is 2."""
    import math

    return -math.log10(max(1.0 - phi, 10.0 ** -_NINES)) if phi == phi else math.nan


def _nines_axis(axis: Any, values: Sequence[float], label: str, what: str) -> None:
    """Ticks of an axis of `nines`, over those values."""
    known = [v for v in values if v == v] or [0.0]
    low, high = min(known), max(known)
    pad = 0.06 * max(high - low, 0.5)
    ticks = [p for p in (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999)
             if low - 2 * pad <= nines(p) <= high + 2 * pad]
    step = max(1, len(ticks) // 7)
    ticks = ticks[::step]
    getattr(axis, f"set_{what}lim")(low - 2 * pad, high + 2 * pad)
    getattr(axis, f"set_{what}ticks")([nines(p) for p in ticks], [f"{p:g}" for p in ticks])
    getattr(axis, f"set_{what}label")(label)


class _Looks:
    """A colour for each precision and a marker for each activation scheme, in the order of the table."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.precisions = list(dict.fromkeys(line["precision"] for line in lines))
        self.activations = list(dict.fromkeys(line["activations"] for line in lines))

    def colour(self, line: Line) -> str:
        return SERIES[self.precisions.index(line["precision"]) % len(SERIES)]

    def marker(self, line: Line) -> str:
        return MARKERS[self.activations.index(line["activations"]) % len(MARKERS)]

    def legend(self, figure: Any) -> None:
        """Beside the figure: weights by colour, activations by marker."""
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color="none", label="weights")]
        handles += [Line2D([], [], color=SERIES[i % len(SERIES)], marker="o", ls="", label=p)
                    for i, p in enumerate(self.precisions)]
        if len(self.activations) > 1:
            handles.append(Line2D([], [], color="none", label="activations"))
            handles += [Line2D([], [], color=_FG, marker=MARKERS[i % len(MARKERS)], ls="", label=a, markerfacecolor="none")
                        for i, a in enumerate(self.activations)]
        figure.legend(handles=handles, loc="outside right upper", handletextpad=0.4)


def accuracy_against_phi(lines: Sequence[Line]) -> Drawing:
    """Puzzles exact after the last step against phi after one step (left) and after the last (right)."""
    looks = _Looks(lines)

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axis, key, text in zip(panels, ("phi_first", "phi_last"), ("after 1 step", "after the last step")):
            for line in lines:
                axis.plot(nines(line[key]), 100 * line["exact"], ls="", marker=looks.marker(line), color=looks.colour(line),
                          ms=6, alpha=0.85)
            _nines_axis(axis, [nines(line[key]) for line in lines], f"fidelity {text}", "x")
        panels[0].set_ylabel("puzzles exact, %")
        looks.legend(figure)

    return draw


def accuracy_against_macs(lines: Sequence[Line]) -> Drawing:
    """Puzzles exact against multiply-adds a puzzle, with the Pareto front."""
    looks = _Looks(lines)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        runs: dict[tuple, list[Line]] = defaultdict(list)
        for line in lines:
            runs[line["label"], line["h_cycles"], line["l_cycles"]].append(line)
        for run in runs.values():
            run = sorted(run, key=lambda line: line["macs"])
            axis.plot([line["macs"] for line in run], [100 * line["exact"] for line in run], color=looks.colour(run[0]),
                      marker=looks.marker(run[0]), ms=5, lw=0.9, alpha=0.8)
        front = sorted({(line["macs"], 100 * line["exact"]) for line in lines if line["pareto"]})
        axis.step(*zip(*front), where="post", color=_FG, lw=1.6, ls=":", label="Pareto front")
        axis.plot(*zip(*front), ls="", marker="o", ms=11, markerfacecolor="none", markeredgecolor=_FG)
        axis.set_xscale("log")
        axis.set_xlabel("multiply-adds a puzzle")
        axis.set_ylabel("puzzles exact, %")
        axis.legend(loc="lower right")
        looks.legend(figure)

    return draw


def phi_along_steps(lines: Sequence[Line]) -> Drawing:
    """phi after each supervision step, a line for each variant of one depth."""
    looks = _Looks(lines)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        heights = []
        for line in lines:
            curve = [nines(p) for p in line["by_step"]["phi"]]
            heights += curve
            axis.plot(range(1, len(curve) + 1), curve, color=looks.colour(line), marker=looks.marker(line), ms=4, lw=1.2)
        _nines_axis(axis, heights, "fidelity to fp32", "y")
        axis.set_xlabel("supervision step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        looks.legend(figure)

    return draw
