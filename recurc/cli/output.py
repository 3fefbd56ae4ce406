"""What commands print: text for people, one JSON document for programs.

With `--json` the document is all that stands on stdout; people's text goes to stderr. Progress bars show on a
terminal only. Names come from files and devices: control characters in them are shown as escapes and reach no terminal.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import rich.box
import rich.console
import rich.markup
import rich.progress
import rich.segment
import rich.table

from recurc.cli._streams import writing
from recurc.errors import InputError, RecurcError
from recurc.report.numbers import bytes_text, count_text
from recurc.text import one_line, visible

__all__ = ["Console", "bytes_text", "count_text"]

PIPE_WIDTH = 160  # columns when nobody's terminal gives a width, so that tables are not cut in files


class Console:
    """A command's output.

    `debug` and `json` follow the options of the same name; `command` is the command's name, for the schema.
    """

    def __init__(self) -> None:
        self.json = False
        self.debug = False
        self.command = "recurc"
        self._emitted = False
        self._notes: list[str] | None = None

    # -- for people ---------------------------------------------------------------------------------------------

    @property
    def people(self) -> rich.console.Console:
        """Where text for people goes: stdout, or stderr when stdout carries JSON."""
        return _console(sys.stderr if self.json else sys.stdout)

    def _people(self, *what: object, **how: Any) -> None:
        with writing(sys.stderr if self.json else sys.stdout):
            self.people.print(*what, **how)

    def print(self, text: str = "", style: str | None = None) -> None:
        """A line of text, printed as it is (no markup)."""
        self._people(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark beside the result: always on stderr."""
        with writing(sys.stderr):
            _console(sys.stderr).print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def assumed(self, notes: Sequence[str]) -> None:
        """What was assumed of a checkpoint: lines on stderr, each once, and "notes" in the JSON document."""
        known = self._notes or []
        new = [text for text in dict.fromkeys(notes) if text not in known]
        self._notes = known + new
        for text in new:
            self.note(f"note: {text}")

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None, numeric: bool = True,
        text_columns: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """An aligned table: the first column and `text_columns` to the left, the others to the right when `numeric`."""
        table = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(columns):
            right = numeric and i and column not in text_columns
            table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=not i)
        for row in rows:
            table.add_row(*(rich.markup.escape(visible(cell)) for cell in row))
        self._people(table, highlight=False)

    def pairs(self, items: Sequence[tuple[str, object]]) -> None:
        """Names and values in two aligned columns."""
        table = rich.table.Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in items:
            table.add_row(name, rich.markup.escape(visible(value)))
        self._people(table, highlight=False)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[..., None]]:
        """A progress bar on stderr when that is a terminal. Yields `advance(n=1, note="")`."""
        if not sys.stderr.isatty():
            yield lambda n=1, note="": None
            return
        with rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[note]}"),
            console=_console(sys.stderr),
            transient=True,
        ) as bar:
            task = bar.add_task(what, total=total, note="")
            yield lambda n=1, note="": bar.update(task, advance=n, note=rich.markup.escape(one_line(note)))

    # -- for programs -------------------------------------------------------------------------------------------

    def emit_json(self, document: dict[str, object]) -> None:
        """Print the command's one JSON document (with `--json` only), its schema first."""
        if not self.json:
            return
        if self._emitted:
            raise AssertionError("a command emits one JSON document")
        self._emitted = True
        if self._notes is not None:
            document = {**document, "notes": list(dict.fromkeys((*self._notes, *document.get("notes", ()))))}
        text = json_text({"schema": f"recurc/{self.command}/1", **document}) + "\n"
        with writing(sys.stdout):
            sys.stdout.write(text)
            sys.stdout.flush()

    def error(self, error: RecurcError) -> None:
        """An error: one paragraph on stderr, and as JSON on stdout with `--json`."""
        with writing(sys.stderr):
            _console(sys.stderr).print(f"error: {error.paragraph()}", markup=False, highlight=False, soft_wrap=True)
        if self.json and not self._emitted:
            with suppress(InputError):  # stdout cannot be written: the code says that something failed
                self.emit_json({"error": error.as_dict()})

    def traceback(self) -> None:
        """The exception that is being handled, with --debug; its text may hold anything."""
        with writing(sys.stderr):
            sys.stderr.write(visible(traceback.format_exc()))


class _TextConsole(rich.console.Console):
    """A console whose texts cannot command the terminal: whatever is printed comes by here, in pieces of text and style."""

    def on_broken_pipe(self) -> None:
        raise  # what the caller makes of it, not an exit with code 1 from here

    def render(self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
               ) -> Iterator[rich.segment.Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def _console(stream) -> rich.console.Console:
    return _TextConsole(file=stream, width=None if stream.isatty() else PIPE_WIDTH)


def json_text(document: dict[str, object]) -> str:
    """A document as JSON in ASCII, whatever numbers, paths and names it holds."""
    return json.dumps(_plain(document), indent=2).replace("\x7f", "\\u007f")


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings and log lines that other packages write to stderr have no control characters either."""
    format_warning, make_record = warnings.formatwarning, logging.getLogRecordFactory()

    def record(*arguments: Any, **options: Any) -> logging.LogRecord:
        made = make_record(*arguments, **options)
        with suppress(Exception):  # a record whose arguments do not fit its text: logging says so itself
            made.msg, made.args = visible(made.getMessage()), ()
        return made

    warnings.formatwarning = lambda *a, **k: visible(format_warning(*a, **k))
    logging.setLogRecordFactory(record)
    try:
        yield
    finally:
        warnings.formatwarning = format_warning
        logging.setLogRecordFactory(make_record)


def _plain(value: object) -> object:
    """What json can write: NumPy scalars and arrays as numbers and lists, paths as text, non-finite numbers as null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
