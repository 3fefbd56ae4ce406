"""Plots of sweeps, as PNG files and as SVG that takes the page's colours, light or dark. Needs matplotlib, an extra."""

from __future__ import annotations

import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from recurc.arguments import argument
from recurc.files import make_folder, write_whole
from recurc.report.numbers import count_text
from recurc.report.results import Plot
from recurc.words import said

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = Mapping[str, Any]  # a row of a sweep, see recurc.study.sweep.Row.as_dict
Drawing = Callable[["Figure"], None]  # draws on a figure

# Middling colours that are seen on white and on black; the two others stand for the page's own.
SERIES = ("#3b7dd8", "#e07b39", "#2f9e62", "#b453c6", "#d4453f", "#9a8a12", "#1f9bab", "#946c4b", "#7a74d9", "#c2578d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FG, LINE = "#1b1f25", "#d0d7df"
_NINES = 5  # cosines are drawn up to 1 - 10^-5


def have_matplotlib() -> bool:
    """Whether plots can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def _style(salt: str) -> Iterator[ModuleType]:
    import matplotlib

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.size": 9,
        "axes.grid": True,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "axes.edgecolor": LINE,
        "axes.labelcolor": FG,
        "text.color": FG,
        "xtick.color": FG,
        "ytick.color": FG,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(cast(Any, settings)):  # its stub wants each key as a literal of its own
        yield matplotlib


def render(name: str, draw: Drawing, folder: Path | None = None, height: float = 3.9) -> str:
    """Draw a figure `height` inches high; SVG for a page, and NAME.png in `folder` when that is given."""
    with _style(name):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.text import Text

        figure = Figure(figsize=(9, height), layout="constrained")
        draw(figure)
        for label in figure.findobj(Text):
            if (told := said(label.get_text())) != label.get_text():
                label.set_text(told)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": "recurc"})
        if folder is not None:
            picture = io.BytesIO()
            FigureCanvasAgg(figure).print_figure(picture, dpi=130, facecolor="white", format="png")
            other = f"Name another folder with {argument('folder', option='out')}"
            make_folder(folder, "the plot", other)
            write_whole(folder / f"{name}.png", picture.getvalue(), "the plot", other)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(FG, "var(--fg)").replace(LINE, "var(--line)").replace('id="', f'id="{name}-')
    for use in ('href="#', "url(#"):
        svg = svg.replace(use, f"{use}{name}-")
    return svg


def plot(name: str, heading: str, text: str, draw: Drawing, folder: Path | None = None, height: float = 3.9) -> Plot:
    """A figure of a page of results; its PNG goes to `folder`."""
    return Plot(heading, text, render(name, draw, folder, height), f"{name}.png")


def nines(phi: float) -> float:
    """A cosine's height on an axis that spreads what is close to 1: 0.9 is 1, 0.99 is 2."""
    return -math.log10(max(1.0 - phi, 10.0**-_NINES)) if phi == phi else math.nan


_TICKS = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0, 0.5, 0.95, 0.98, 0.995, 0.998, 0.9995, 0.8, 0.2, 0.97)  # roundest first


def nines_axis(axis: Axes, values: Sequence[float], label: str, what: str, ticks: int = 9) -> None:
    """Limits and at most about `ticks` ticks of an axis of `nines`, over those values."""
    known = [v for v in values if v == v] or [0.0]
    pad = 0.08 * max(max(known) - min(known), 0.5)
    low, high = min(known) - pad, max(known) + pad
    chosen: list[float] = []
    for tick in _TICKS:
        at = nines(tick)
        if low <= at <= high and all(abs(at - nines(other)) >= (high - low) / ticks for other in chosen):
            chosen.append(tick)
    getattr(axis, f"set_{what}lim")(low, high)
    getattr(axis, f"set_{what}ticks")([nines(p) for p in chosen], [f"{p:g}" for p in chosen])
    getattr(axis, f"set_{what}label")(label)


def _share_axis(axis: Axes, values: Sequence[float]) -> None:
    """A y axis of percent, of 10 points at least, with no room for a tick below 0 or above 100."""
    low, high = min(values, default=0.0), max(values, default=100.0)
    wide = max(high - low, 10.0)
    low, high = max((low + high - wide) / 2, 0.0), min((low + high + wide) / 2, 100.0)
    axis.set_ylim(max(low - 0.06 * wide, -0.03 * wide), min(high + 0.06 * wide, 100 + 0.03 * wide))


class Looks:
    """A colour for each precision and a marker for each activation scheme, the same in all plots of a page."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.precisions = list(dict.fromkeys(line["precision"] for line in lines))
        self.activations = list(dict.fromkeys(line["activations"] for line in lines))

    def colour(self, line: Line) -> str:
        return SERIES[self.precisions.index(line["precision"]) % len(SERIES)]

    def marker(self, line: Line) -> str:
        return MARKERS[self.activations.index(line["activations"]) % len(MARKERS)]

    def legend(self, figure: Figure, lines: Sequence[Line]) -> None:
        """Beside the figure: weights by colour, activations by marker, those of `lines`."""
        from matplotlib.lines import Line2D

        colours = {line["precision"]: self.colour(line) for line in lines}
        markers = {line["activations"]: self.marker(line) for line in lines}
        handles = [Line2D([], [], color=c, marker="s", ls="", label=p) for p, c in colours.items()]
        figure.legend(handles=handles, loc="outside right upper", handletextpad=0.4, title="weights", alignment="left")
        if len(markers) > 1:
            handles = [Line2D([], [], color=FG, marker=m, ls="", label=a, markerfacecolor="none") for a, m in markers.items()]
            figure.legend(handles=handles, loc="outside right lower", handletextpad=0.4, title="activations", alignment="left")


def accuracy_against_phi(lines: Sequence[Line], looks: Looks) -> Drawing:
    """Puzzles exact after the last step against phi after one step (left) and after the last (right)."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axis, key, text in zip(panels, ("phi_first", "phi_last"), ("after 1 step", "after the last step")):
            for line in lines:
                axis.plot(
                    nines(line[key]),
                    100 * line["exact"],
                    ls="",
                    marker=looks.marker(line),
                    color=looks.colour(line),
                    ms=6,
                    alpha=0.85,
                )
            nines_axis(axis, [nines(line[key]) for line in lines], f"fidelity {text}", "x", ticks=6)
        panels[0].set_ylabel("puzzles exact, %")
        _share_axis(panels[0], [100 * line["exact"] for line in lines])
        looks.legend(figure, lines)

    return draw


def accuracy_against_cost(lines: Sequence[Line], looks: Looks) -> Drawing:
    """Puzzles exact against multiply-adds a puzzle, or where all take the same against bytes, with the Pareto front."""
    from recurc.report.costs import cost_of

    key = cost_of(lines)

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        runs: dict[tuple[str, int, int], list[Line]] = defaultdict(list)
        for line in lines:
            runs[line["label"], line["h_cycles"], line["l_cycles"]].append(line)
        for run in runs.values():
            run = sorted(run, key=lambda line: line[key])
            exact = [100 * line["exact"] for line in run]
            axis.errorbar(
                [line[key] for line in run],
                exact,
                yerr=[_share_error(line) for line in run],
                ms=5,
                lw=0.9,
                color=looks.colour(run[0]),
                marker=looks.marker(run[0]),
                alpha=0.8,
                elinewidth=0.6,
            )
        for tied, alpha in ((True, 0.35), (False, 1.0)):
            some = [(line[key], 100 * line["exact"]) for line in lines if line["tied" if tied else "pareto"]]
            if some:
                axis.plot(
                    *zip(*some),
                    ls="",
                    marker="o",
                    ms=11,
                    markerfacecolor="none",
                    markeredgecolor=FG,
                    alpha=alpha,
                    label="not told from it" if tied else "Pareto front",
                )
        front = sorted({(line[key], 100 * line["exact"]) for line in lines if line["pareto"]})
        if front:
            axis.step(*zip(*front), where="post", color=FG, lw=1.6, ls=":")
            axis.legend(loc="lower right")
        cost_axis(axis, [line[key] for line in lines])
        axis.set_xlabel("multiply-adds a puzzle" if key == "macs" else "bytes: weights with scales, tables, vectors")
        axis.set_ylabel("puzzles exact, %")
        _share_axis(axis, [100 * line["exact"] for line in lines])
        looks.legend(figure, lines)

    return draw


def _share_error(line: Line) -> float:
    """Standard error of puzzles exact, in percent."""
    return 100 * math.sqrt(line["exact"] * (1 - line["exact"]) / line["n"])


def cost_axis(axis: Axes, costs: Sequence[float], spelled: Callable[[float], str] = count_text) -> None:
    """A logarithmic x axis over these costs, with three ticks at least however short it is, `spelled` like 2 G or 50 ms."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    low, high = min(costs), max(costs)
    steps = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(1 + k / 10 for k in range(90)))
    at: list[float] = []
    for subs in steps:
        at = [
            sub * 10.0**power
            for power in range(int(math.floor(math.log10(low))), int(math.log10(high)) + 1)
            for sub in subs
            if low / 1.1 <= sub * 10.0**power <= high * 1.1
        ]
        if len(at) >= 3:
            break
    axis.set_xscale("log")
    axis.set_xlim(low / 1.12, high * 1.12)
    axis.xaxis.set_major_locator(FixedLocator(at[:: max(1, len(at) // 9)]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: spelled(value).replace(".0 ", " ")))
    axis.xaxis.set_minor_formatter(NullFormatter())


def phi_along_steps(lines: Sequence[Line], looks: Looks) -> Drawing:
    """phi after each supervision step, a line for each variant of one depth."""

    from matplotlib.ticker import MaxNLocator

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        heights = []
        for line in lines:
            curve = [nines(p) for p in line["by_step"]["phi"]]
            heights += curve
            axis.plot(range(1, len(curve) + 1), curve, color=looks.colour(line), marker=looks.marker(line), ms=4, lw=1.2)
        nines_axis(axis, heights, "fidelity to fp32", "y")
        axis.set_xlabel("supervision step")
        ticks = axis.xaxis.get_major_locator()
        assert isinstance(ticks, MaxNLocator)  # as matplotlib's own one is
        ticks.set_params(integer=True)
        looks.legend(figure, lines)

    return draw


def loss_against_phi(points: Sequence[Line], thresholds: Mapping[str, float | None], default: float | None) -> Drawing:
    """Exact lost against phi after one step, a colour a model; filled where it is harm. Lines: the models' thresholds, and
    dotted the one of all."""
    models = list(dict.fromkeys(p["model"] for p in points))

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        for model, colour in zip(models, SERIES * (1 + len(models) // len(SERIES))):
            own = [p for p in points if p["model"] == model]
            for filled in (False, True):
                some = [p for p in own if bool(p["harmful"]) == filled]
                axis.errorbar(
                    [nines(p["phi_first"]) for p in some],
                    [100 * p["loss"] for p in some],
                    yerr=[100 * p["loss_se"] for p in some],
                    ls="",
                    marker="o",
                    ms=5,
                    color=colour,
                    elinewidth=0.7,
                    markerfacecolor=colour if filled else "none",
                    label=model if filled == any(p["harmful"] for p in own) else None,
                )
            if thresholds.get(model) is not None:
                axis.axvline(nines(float(thresholds[model] or 0)), color=colour, lw=1)
        if default is not None:
            axis.axvline(nines(default), color=FG, lw=1.4, ls=":")
        nines_axis(axis, [nines(p["phi_first"]) for p in points], "fidelity after 1 step", "x")
        axis.set_ylabel("points of exact lost")
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, -2.5), max(high, 2.5))  # nothing lost is a line, not a scale of hundredths
        figure.legend(loc="outside right upper", handletextpad=0.4)

    return draw
