"""`recurc ci`: GitHub verifies a build on every push, in Debian's QEMU; and Renode's scripts for the same firmware."""

from __future__ import annotations

from pathlib import Path

import click

from recurc.cli.common.options import data_option, limit_option, open_build, pass_console
from recurc.cli.common.output import Console, bytes_text
from recurc.errors import UsageError
from recurc.reading import matching

DEFAULT_LIMIT = 2


@click.command()
@click.argument("build", metavar="BUILD", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("."), metavar="DIR",
              help="The repository's top folder. Default: the current one.")  # fmt: skip
@data_option
@limit_option(DEFAULT_LIMIT)
@click.option("--install", metavar="WHAT", default=None,
              help="What pip installs recurc from: a requirement, git+https://..., a wheel in the repository.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
@pass_console
def command(console: Console, build: Path, out: Path, data: str | None, limit: int | None, install: str | None,
            force: bool) -> None:  # fmt: skip
    """Write a GitHub Actions workflow that verifies BUILD in QEMU, and Renode's scripts for it.

    BUILD must lie in the repository and be committed; it is run as it is, nothing is compiled. The puzzles that the job
    runs are written beside the scripts, in recurc-ci. Renode's files have not been run, only checked for their syntax.
    """
    from recurc.dataset import load_dataset
    from recurc.make.ci import WORKFLOW, Source, ci_files, ignored_by_git, install_source, write_files

    made = open_build(console, build, to_run=False)
    folder = data or made.details.get("data")
    if folder is None:
        raise UsageError("no puzzles to run", where=str(build), why=f"no dataset is given, and {made.no_data}",
                         next="Pass the dataset directory with --data DIR")  # fmt: skip
    puzzles = load_dataset(folder, "test").take(limit)
    source = install_source() if install is None else Source(install, True)
    plan = ci_files(made, out, puzzles, source.requirement)
    written = write_files(out, plan.files, force)
    size = sum(p.stat().st_size for p in matching(made.path, "*", deep=True) if p.is_file())
    console.table(("file", "what it is"), [(p, _what(p, plan.emulated, len(puzzles))) for p in _shown(written)], numeric=False)
    console.print(f"Commit these files and {build} ({bytes_text(size)}; Git LFS keeps it out of the history).")
    ignored = ignored_by_git(out, build)
    if ignored:
        console.print(f"Git ignores {build}: add it with `git add -f {build}`.", style="yellow")
    if not source.certain:
        console.print(f"This recurc was installed from a folder. The job asks the package index for {source.requirement}, "
                      "where it may not be: name its source with --install.", style="yellow")  # fmt: skip
    if plan.renode:
        console.print("Renode's files: not run here, only checked for their syntax.")
    else:
        console.print(f"No Renode files: Renode has no model of the UART of {made.target}.")
    console.emit_json({
        "build": build, "install": source.requirement, "install_certain": source.certain, "ignored_by_git": ignored,
        "emulated": plan.emulated, "workflow": out / WORKFLOW, "files": written, "puzzles": len(puzzles),
        "renode": [out / name for name in plan.renode], "renode_run": False,
    })  # fmt: skip


def _shown(written: list[Path]) -> list[Path]:
    """The files, those of the dataset as their folder."""
    return list(dict.fromkeys(p.parent.parent if p.suffix in (".npy", ".json") else p for p in written))


def _what(path: Path, emulated: str, puzzles: int) -> str:
    texts = {
        ".yml": f"GitHub Actions: recurc verify on {emulated} in Debian's QEMU",
        ".repl": "Renode: the board's core, memory and UART (not run)",
        ".resc": "Renode: loads the firmware, UART on a TCP port (not run)",
        ".robot": "Renode: Robot test that verifies it (not run)",
    }
    return texts.get(path.suffix, f"the {puzzles} puzzles that the job runs")
