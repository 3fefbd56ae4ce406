"""`recurc boards`: which boards there are, and how far each has been tested."""

from __future__ import annotations

from typing import Any

import click

from recurc.cli.options import pass_console
from recurc.cli.output import Console

REACH = {
    "emulated": "firmware runs in an emulator and is compared bit for bit",
    "compiled": "firmware is compiled and linked within the real memory map; it has not run on a chip",
    "described": "memory map only; nothing is compiled for it yet",
}


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the boards, or show one with `recurc boards show NAME`."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@command.command("list")
@pass_console
def list_command(console: Console) -> None:
    """List the boards."""
    from recurc.targets.boards import list_boards

    boards = list_boards()
    rows = [(b.name, b.core, _flash(b), _ram(b), b.verified, b.twin or "", ", ".join(b.aliases)) for b in boards]
    console.table(("board", "core", "flash", "largest RAM", "tested", "twin", "aliases"), rows, numeric=False)
    for word in ("emulated", "compiled", "described"):
        if any(b.verified == word for b in boards):
            console.print(f"{word}: {REACH[word]}")
    console.emit_json({"boards": [_document(b) for b in boards]})


@command.command("show")
@click.argument("name")
@pass_console
def show_command(console: Console, name: str) -> None:
    """Show one board: NAME, an alias, or the path of a TOML file."""
    from recurc.targets.boards import load_board

    b = load_board(name)
    clock = f"{b.clock_hz / 1e6:g} MHz" if b.clock_hz else "not modelled"
    emulator = f"QEMU {b.emulator.machine}" if b.emulator else "none" + (f"; twin {b.twin}" if b.twin else "")
    console.pairs([
        ("board", f"{b.name}  {b.title}"), ("core", f"{b.core}, {', '.join(sorted(b.features)) or 'no extensions'}"),
        ("compiler flags", " ".join(b.cpu_flags)), ("clock", clock), ("tested", f"{b.verified}: {REACH[b.verified]}"),
        ("emulator", emulator), ("wire", f"{b.uart.kind} {b.uart.baud or ''} {b.uart.note}".strip()),
        ("ticks", f"{b.ticks.source}, {b.ticks.hz:,} a second" if b.ticks.hz else f"{b.ticks.source}, not a time"),
        ("stack", _size(b.stack_bytes)),
    ])  # fmt: skip
    rows = []
    for r in b.regions:
        parts = [part for part, names in b.placement.items() if r.name in names]
        note = "; ".join(x for x in ("optional" if r.optional else "", r.note) if x)
        rows.append((r.name, r.kind, f"0x{r.base:08x}", _size(r.size), ", ".join(parts), note))
    if rows:
        console.table(("region", "kind", "base", "size", "may hold", ""), rows, numeric=False)
    console.emit_json({"board": _document(b)})


def _size(n: int) -> str:
    """A region's size: whole MiB or KiB where it is that."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if n and n % unit == 0:
            return f"{n // unit:,} {name}"
    return f"{n:,} B"


def _flash(board: Any) -> str:
    return _inside_and_outside(board, "flash", sum)


def _ram(board: Any) -> str:
    return _inside_and_outside(board, "ram", max)


def _inside_and_outside(board: Any, kind: str, combine: Any) -> str:
    """Size on the chip, and what external memory adds to it."""
    inside = combine([r.size for r in board.regions if r.kind == kind] or [0])
    outside = combine([r.size for r in board.regions if r.kind == f"external-{kind}"] or [0])
    return " + ".join(_size(n) + note for n, note in ((inside, ""), (outside, " external")) if n)


def _document(b: Any) -> dict[str, object]:
    return {
        "name": b.name, "title": b.title, "aliases": list(b.aliases), "family": b.family, "core": b.core,
        "features": sorted(b.features), "cpu_flags": list(b.cpu_flags), "clock_hz": b.clock_hz, "verified": b.verified,
        "twin": b.twin, "stack_bytes": b.stack_bytes,
        "emulator": None if b.emulator is None else {"kind": b.emulator.kind, "machine": b.emulator.machine},
        "regions": [
            {"name": r.name, "kind": r.kind, "base": r.base, "size": r.size, "wait_states": r.wait_states,
             "optional": r.optional, "note": r.note}
            for r in b.regions
        ],
        "placement": {part: list(names) for part, names in b.placement.items()},
    }  # fmt: skip
