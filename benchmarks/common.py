"""What all benchmarks share: Markdown tables, and a virtual environment for each peer apart from the project's own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
ENVIRONMENTS = ROOT / "build" / "benchmarks"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], text_columns: int = 1) -> str:
    """A Markdown table with aligned columns: the first `text_columns` to the left, numbers to the right.

    Integers get thousands separators, None an empty cell; other values are printed as they are.
    """
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    assert all(len(row) == len(header) for row in cells), "every row has a cell for each column"
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(
                text.ljust(width) if i < text_columns else text.rjust(width) for i, (text, width) in enumerate(zip(row, widths))
            )
            + " |"
        )

    rule = ["-" * width if i < text_columns else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def times(theirs: int, ours: int) -> str:
    """A ratio for people: "5.3 x"."""
    return f"{theirs / ours:.1f} x"


def peer_python(name: str) -> Path:
    """Python of the peer's own environment, set up from requirements-NAME.txt when it is missing or stale.

    Raises:
        subprocess.CalledProcessError: pip could not install the peer (it says why on stderr).
    """
    ready = ready_peer_python(name)
    if ready is not None:
        return ready
    folder = ENVIRONMENTS / name
    print(f"benchmarks: installing requirements-{name}.txt into {folder.relative_to(ROOT)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run(
        [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(_requirements(name)),
        ],
        check=True,
    )
    _stamp(name).write_text(_wanted(name), encoding="utf-8")
    return folder / "bin" / "python"


def ready_peer_python(name: str) -> Path | None:
    """Python of the peer's environment, or None when it has to be set up first."""
    stamp = _stamp(name)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == _wanted(name):
        return ENVIRONMENTS / name / "bin" / "python"
    return None


def _requirements(name: str) -> Path:
    return FOLDER / f"requirements-{name}.txt"


def _stamp(name: str) -> Path:
    return ENVIRONMENTS / name / "requirements.sha256"


def _wanted(name: str) -> str:
    return hashlib.sha256(_requirements(name).read_bytes()).hexdigest()
