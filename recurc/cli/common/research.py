"""What `sweep`, `study` and `tune` share: lists of names and numbers, where work is done, what is kept and what is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from recurc.cli.common.output import Console
from recurc.errors import InputError, UsageError
from recurc.files import check_folder, make_folder, write_whole

_MAX_DEPTH = 255
_OTHER_FOLDER = "Name another folder with --out"


class Names(click.ParamType):
    """A list of known names with commas between, or "all"."""

    name = "names"

    def __init__(self, what: str) -> None:
        self.what = what

    def known(self) -> tuple[str, ...]:
        from recurc.study.fake import ACTIVATIONS, weight_schemes

        return tuple(weight_schemes() if self.what == "precision" else ACTIVATIONS)

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        known = self.known()
        names = known if value == "all" else tuple(dict.fromkeys(part.strip() for part in value.split(",")))
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"unknown {self.what} {name!r}",
                    where=param.opts[0] if param else "",
                    why=f"known are {', '.join(known)}",
                    next=f"Did you mean {near[0]}?" if near else "Choose among them, or all",
                )
        return names


class Numbers(click.ParamType):
    """Whole numbers from 1 to 255 with commas between; a..b is a range."""

    name = "numbers"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        found: list[int] = []
        for part in value.split(","):
            low, dots, high = part.strip().partition("..")
            if not low.isdecimal() or (dots and not high.isdecimal()):
                self.fail(f"{part.strip()!r} is no whole number and no range a..b", param, ctx)
            found += range(int(low), int(high or low) + 1)
        if not found or min(found) < 1 or max(found) > _MAX_DEPTH:
            self.fail(f"{value!r}: from 1 to {_MAX_DEPTH}", param, ctx)
        return tuple(dict.fromkeys(found))


def compute_options(function):
    """--jobs, --scheduler, --cache, --no-cache: where variants are computed and results kept."""
    for option in (
        click.option("--no-cache", is_flag=True, help="Keep no results, use none that are kept."),
        click.option(
            "--cache",
            type=click.Path(file_okay=False, path_type=Path),
            default=None,
            metavar="DIR",
            help="Where results are kept by content. Default: recurc/sweep in your cache folder.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            default=None,
            help="Compute on the workers of this Dask scheduler (tcp://HOST:PORT).",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1, 1024),
            default=None,
            metavar="N",
            help="Threads on this computer. Default: one a core.",
        ),
    ):
        function = option(function)
    return function


@contextmanager
def executor(jobs: int | None, scheduler: str | None) -> Iterator[Any]:
    """Where the work is done. Raises ToolchainError, UsageError."""
    if scheduler is not None:
        if jobs is not None:
            raise UsageError("--jobs and --scheduler exclude each other", next="Leave one of them out")
        from recurc.study.cluster import Cluster

        with Cluster(scheduler) as cluster:
            yield cluster
    else:
        from recurc.study.units import Threads

        with Threads(jobs) as threads:
            yield threads


def store(console: Console, cache: Path | None, no_cache: bool):
    """Where results are kept; a folder that cannot be made keeps none, unless it was named."""
    from recurc.cachedir import cache_folder
    from recurc.study.store import Store

    folder = None if no_cache else cache or cache_folder("sweep")
    if folder is None:
        return Store(None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if cache is not None:
            raise InputError(
                "the cache folder cannot be made",
                where=str(cache),
                why=error.strerror or str(error),
                next="Name another with --cache, or pass --no-cache",
            ) from None
        return Store(None)
    return Store(folder, console.note)


def check_results(folder: Path) -> None:
    """That results may be written into a folder: told before the work, not after it. Raises InputError."""
    check_folder(folder, "the result", _OTHER_FOLDER)


def write(folder: Path, name: str, text: str) -> Path:
    """Write a result file, whole or not at all. Raises InputError."""
    make_folder(folder, "the result", _OTHER_FOLDER)
    return write_whole(folder / name, text, "the result", _OTHER_FOLDER)


def can_plot(console: Console) -> bool:
    """Whether plots can be drawn; why not is said."""
    from recurc.report.plots import have_matplotlib

    if not have_matplotlib():
        console.note("no plots: matplotlib is not installed (pip install matplotlib)")
        return False
    return True


def write_results(folder: Path, name: str, results: Any) -> list[Path]:
    """Write a page of results (`recurc.report.results`) as NAME.html and NAME.md; their paths and those of its PNGs."""
    return [
        write(folder, f"{name}.html", results.html()),
        write(folder, f"{name}.md", results.markdown()),
        *(folder / p.image for p in results.plots),
    ]
