"""What `sweep`, `study` and `tune` share: lists of names and numbers, where work is done, what is kept and what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.output import Console
from recurc.errors import InputError, UsageError
from recurc.files import check_folder, make_folder, write_whole

if TYPE_CHECKING:
    from recurc.report.results import Results
    from recurc.study.store import Store
    from recurc.study.units import Executor

_OTHER_FOLDER = "Name another folder with --out"


@dataclass(frozen=True)
class Computing:
    """Where variants are computed, and where results are kept."""

    jobs: int | None = None
    scheduler: str | None = None
    cache: Path | None = None
    no_cache: bool = False

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Where the work is done. Raises ToolchainError, UsageError."""
        if self.scheduler is not None:
            if self.jobs is not None:
                raise UsageError("--jobs and --scheduler exclude each other", next="Leave one of them out")
            from recurc.study.cluster import Cluster

            with Cluster(self.scheduler) as cluster:
                yield cluster
        else:
            from recurc.study.units import Threads

            with Threads(self.jobs) as threads:
                yield threads

    def store(self, console: Console) -> Store:
        """Where results are kept; a folder that cannot be made keeps none, unless it was named. Raises InputError."""
        from recurc.cachedir import cache_folder
        from recurc.study.store import Store

        folder = None if self.no_cache else self.cache or cache_folder("sweep")
        if folder is None:
            return Store(None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if self.cache is not None:
                raise InputError(
                    "the cache folder cannot be made",
                    where=str(self.cache),
                    why=error.strerror or str(error),
                    next="Name another with --cache, or pass --no-cache",
                ) from None
            return Store(None)
        return Store(folder, console.note)


def results_option(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--out DIR of a command whose results go to build/`name` otherwise; None when not given."""
    help = f"Folder of the results. Default: build/{name}."
    return click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=None, metavar="DIR", help=help)


def compute_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--jobs, --scheduler, --cache, --no-cache: a `Computing`."""
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


def write_results(folder: Path, name: str, results: Results) -> list[Path]:
    """Write a page of results (`recurc.report.results`) as NAME.html and NAME.md; their paths and those of its PNGs."""
    return [
        write(folder, f"{name}.html", results.html()),
        write(folder, f"{name}.md", results.markdown()),
        *(folder / p.image for p in results.plots),
    ]
