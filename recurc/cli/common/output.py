"""What commands print: text for people, one JSON document for programs.

With `--json` the document is all that stands on stdout; people's text goes to stderr. Progress is a bar on a terminal, and
elsewhere a line on stderr every few seconds. Names come from files and devices: control characters in them are shown as
escapes and reach no terminal.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import rich.console
import rich.progress
import rich.segment
import rich.text

from recurc.cli.common.streams import writing
from recurc.cli.common.tables import Table, fitted, paragraph
from recurc.cli.common.ticks import Count, Ticks
from recurc.errors import InputError, RecurcError
from recurc.report.numbers import bytes_text, count_text
from recurc.text import one_line, visible
from recurc.words import said

__all__ = ["Console", "bytes_text", "count_text"]

_LEAST_VALUE = 20  # columns for the values beside long names
PIPE_WIDTH = 80  # columns of a table when neither a terminal nor COLUMNS says how wide the page is


class Console:
    """A command's output.

    `debug`, `json` and `wide` (tables show every column) follow the options of the same name; `command` is the command's name,
    for the schema. `blame` says of an error where else its cause stands, once a project file is read.
    """

    def __init__(self) -> None:
        self.json = False
        self.debug = False
        self.wide = False
        self.command = "recurc"
        self.blame: Callable[[RecurcError], RecurcError] = lambda error: error
        self._emitted = False
        self._notes: list[str] | None = None

    # -- for people ---------------------------------------------------------------------------------------------

    @property
    def people(self) -> rich.console.Console:
        """Where text for people goes: stdout, or stderr when stdout carries JSON."""
        return _console(sys.stderr if self.json else sys.stdout)

    @property
    def width(self) -> int:
        """Columns of the page that people's text is printed on."""
        return self.people.width

    def _people(self, *what: object, **how: Any) -> None:
        with writing(sys.stderr if self.json else sys.stdout):
            self.people.print(*what, **how)

    def print(self, text: str = "", style: str | None = None) -> None:
        """A paragraph of text (no markup), on a terminal in lines of its width."""
        self._people(
            _page(sys.stderr if self.json else sys.stdout, said(text)),
            style=style,
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def note(self, text: str) -> None:
        """A remark beside the result: always on stderr."""
        with writing(sys.stderr):
            text = _page(sys.stderr, said(text))
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
        text_columns: Sequence[str] = (), least: Sequence[str | int] = (),
    ) -> None:  # fmt: skip
        """An aligned table: the first column and `text_columns` to the left, the others to the right when `numeric`.

        Where the page is too narrow, columns of `least` are left out, the first ones first, and that is said.
        """
        named = {name: said(name) for name in columns}
        made = fitted(
            [named[name] for name in columns],
            [[said(visible(cell)) for cell in row] for row in rows],
            None if self.wide else self.width,
            text=[named.get(name, name) for name in text_columns],
            least=[named.get(name, name) if isinstance(name, str) else name for name in least],
            numeric=numeric,
        )
        if title:
            self.print(title, style="italic")
        self.print()
        for line in made.head:
            self.print(line, style="bold")
        self.print(made.rule)
        for line in (line for row in made.rows for line in row):
            self.print(line)
        self.left_out(made)
        self.print()

    def left_out(self, made: Table) -> None:
        """Say which columns had no room."""
        if made.dropped:
            self.print(f"no room for: {', '.join(made.dropped)} (--wide shows all)", style="dim")

    def pairs(self, items: Sequence[tuple[str, object]], bold: bool = True, always: bool = False) -> None:
        """Names and values in two aligned columns; on a terminal, or `always`, values go on below themselves."""
        stream = sys.stderr if self.json else sys.stdout
        shown = [(said(name), said(visible(value))) for name, value in items]
        margin = max((len(name) for name, _ in shown), default=0) + 2
        for name, value in shown:
            lines = paragraph(value, max(_LEAST_VALUE, self.width - margin)) if always or _is_terminal(stream) else value
            first, *rest = lines.replace("\N{NO-BREAK SPACE}", " ").split("\n")
            with writing(stream):
                self.people.print(
                    rich.text.Text.assemble((name.ljust(margin), "bold" if bold else ""), first),
                    highlight=False,
                    soft_wrap=True,
                )
            for line in rest:
                self._people(" " * margin + line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, what: str, total: int, unit: str = "") -> Iterator[Callable[..., None]]:
        """How far work is, on stderr: a bar on a terminal, elsewhere a line every few seconds.

        Yields `advance(n=1, note="")`, which takes parts of a unit too; of one unit only the time is shown.
        """
        what, unit = said(what), said(unit)
        count = Count(f"{self.command}: {what}", total, unit)
        if not sys.stderr.isatty():
            with Ticks(lambda: str(count)):
                yield count.advance
            return
        with rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=None if total > 1 else 1),
            rich.progress.TextColumn("{task.fields[told]}", markup=False),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[note]}", markup=False),
            console=_console(sys.stderr),
            transient=True,
            expand=False,
        ) as bar:
            task = bar.add_task(what, total=total, told="", note="")

            def advance(n: float = 1, note: str = "") -> None:
                count.advance(n, note)
                told = f"{count.whole:,} of {total:,} {unit}".rstrip() if total > 1 else ""
                bar.update(task, completed=count.done, told=told, note=one_line(note))

            advance(0)
            yield advance

    # -- for programs -------------------------------------------------------------------------------------------

    def emit_json(self, document: Mapping[str, Any]) -> None:
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
            text = _page(sys.stderr, said(f"error: {error.paragraph()}"))
            try:
                _console(sys.stderr).print(text, markup=False, highlight=False, soft_wrap=True)
            except MemoryError:  # it was that error, and there is no room either for what prints it nicely
                sys.stderr.write(text + "\n")
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

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterator[rich.segment.Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def _console(stream: TextIO) -> rich.console.Console:
    return _TextConsole(file=stream, width=None if stream.isatty() else _told_width() or PIPE_WIDTH)


def _told_width() -> int | None:
    """What COLUMNS says of the page, when it is a width."""
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and 0 < int(told) < 100_000 else None


def _page(stream: TextIO, text: str) -> str:
    """Sentences in lines on a terminal. Elsewhere a paragraph stays one line, for programs that look for it."""
    return paragraph(text, _console(stream).width) if _is_terminal(stream) else text


def _is_terminal(stream: TextIO) -> bool:
    return bool(stream.isatty())


def json_text(document: Mapping[str, Any]) -> str:
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
