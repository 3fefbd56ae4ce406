"""`recurc doctor`: what is installed, which ports there are, and who answers at one of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich.text import Text

from recurc.cli.common.options import pass_console
from recurc.cli.common.output import Console

if TYPE_CHECKING:
    from recurc.device.frames import Hello
    from recurc.doctor.findings import Finding
    from recurc.documents.commands import DeviceEntry

_STYLES = {"ok": "green", "missing": "yellow", "problem": "bold red", "note": "cyan"}
_ARROW = "→ "
_WIDEST, _LEAST_TEXT = 160, 36  # columns of the page, of what is said beside a name
_TOLD = (
    "board", "model", "build_id", "model_sha256", "version", "status", "image_bytes", "arena_bytes", "stack_bytes", "steps",
)  # fmt: skip


@click.command()
@click.argument("build", metavar="[BUILD]", required=False, type=click.Path(path_type=Path))
@click.option("--port", metavar="P", help="Ask the device there: /dev/ttyACM0, tcp://HOST:PORT, any pyserial URL.")
@pass_console
def command(console: Console, build: Path | None, port: str | None) -> int:
    """Check what recurc needs on this computer, and the device at a port.

    Each line says ok, missing, problem or note, and what to do. With --port: does the device answer, is it our firmware;
    with BUILD: is it this build, and what is needed for this build alone.

    Exit codes: 0 nothing needed is wrong, 3 BUILD is not usable, 6 a tool is missing or too old, 7 the device is not
    reachable, 8 it is another firmware; the largest that applies.
    """
    from recurc.doctor.diagnosis import diagnose
    from recurc.doctor.findings import verdict

    done = diagnose(build, port)
    _print(console, done.findings)
    code = verdict(done.findings)
    console.emit_json({
        "ok": code == 0, "exit_code": code, "build": build, "port": port,
        "checks": [{"group": f.group, "name": f.name, "state": f.state, "detail": f.detail, "next": f.next,
                    "exit_code": f.exit_code} for f in done.findings],
        "ports": [{"device": p.device, "usb": p.usb, "description": p.description, "serial_number": p.serial_number,
                   "boards": list(names)} for p, names in done.ports],
        "device": _device(done.hello),
    })  # fmt: skip
    return code


def _device(hello: Hello | None) -> DeviceEntry | None:
    if hello is None:
        return None
    return cast("DeviceEntry", {key: getattr(hello, key) for key in _TOLD})  # these are its fields


def _print(console: Console, findings: Sequence[Finding]) -> None:
    out = console.people
    for line in _lines(findings, min(out.width, _WIDEST)):
        out.print(line, soft_wrap=True, highlight=False)
    wrong = [f for f in findings if f.exit_code]
    wanted = [f for f in findings if f.next and not f.exit_code and f.state in ("missing", "problem")]

    def count(n: int, one: str, many: str) -> str:
        return f"{n} {one if n == 1 else many}"

    parts = [count(len(wrong), "thing to mend", "things to mend")] if wrong else ["nothing that is needed is wrong"]
    if wanted:
        parts.append(count(len(wanted), "optional thing is missing", "optional things are missing"))
    console.print()
    console.print("; ".join(parts))


def _lines(findings: Sequence[Finding], width: int) -> Iterator[Text]:
    """The findings under their groups' headings, in columns; long text goes on below itself. Where the page has no room for
    a column of text beside the names, it stands below them."""
    states = max(len(f.state) for f in findings)
    longest = max(len(f.name) for f in findings)
    names = min(longest, max(16, width // 3))
    margin = 2 + states + 2 + names + 2
    below = width - margin < _LEAST_TEXT
    if below:
        margin = 2 + states + 2
        names = min(longest, max(16, width - margin))
    group = ""
    for f in findings:
        if f.group != group:
            if group:
                yield Text()
            group = f.group
            yield Text(group, style="bold")
        name, *more = textwrap.wrap(f.name, names) or [""]
        text = _wrapped(f.detail, width - margin)
        first, *rest = [""] if below or not text else text
        line = Text.assemble("  ", (f.state.ljust(states), _STYLES[f.state]), "  ", name.ljust(names), "  ", first)
        line.rstrip()
        yield line
        for i in range(max(len(more), len(rest))):
            left = more[i] if i < len(more) else ""
            yield Text(" " * (4 + states) + (left.ljust(names + 2) + (rest[i] if i < len(rest) else "")).rstrip())
        if below:
            yield from (Text(" " * margin + line) for line in text)
        if f.next:
            for i, words in enumerate(_wrapped(f.next, width - margin - len(_ARROW))):
                yield Text(
                    " " * margin + (_ARROW if i == 0 else " " * len(_ARROW)) + words, style="bold" if f.exit_code else ""
                )


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text. A command in backquotes stays in one piece, so that it can be copied."""
    glued = "`".join(part.replace(" ", "\0") if i % 2 else part for i, part in enumerate(text.split("`")))
    lines = textwrap.wrap(glued, max(width, 20), break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
