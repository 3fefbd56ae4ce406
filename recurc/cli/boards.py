"""`recurc boards`: which boards there are, what memory they have, and how far each has been tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recurc.cli.common.options import pass_console
from recurc.cli.common.output import Console
from recurc.cli.common.tables import fitted, paragraph

if TYPE_CHECKING:
    from recurc.targets.boards import Board
    from recurc.targets.regions import Region

GROUPS = {
    "budget": "Budget classes (emulated in exactly these sizes)", "board": "Boards", "emulator": "Emulated machines",
    "host": "This computer",
}  # fmt: skip
COLUMNS = ("board", "core", "MHz", "flash", "RAM", "ext RAM", "all RAM", "tested", "twin")
_WORDS = ("core", "tested", "twin", "board's name")
LEAST = ("board's name", "ext RAM", "MHz", "twin", "core", "tested")  # columns that a narrow page leaves out first
LEGEND = (
    "MHz: as the port sets it. Memory in KiB: flash = all that keeps code and weights, RAM = largest contiguous region on the "
    "chip, ext RAM = the same beside the chip, all RAM = every region together; +: an optional chip would add to it. twin: "
    "the emulated board that stands for it."
)
_CORE_PREFIXES = ("cortex-", "xtensa-")


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the boards, or show one with `recurc boards show NAME`."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@command.command("list")
@pass_console
def list_command(console: Console) -> None:
    """List the boards by kind, with their memory in KiB."""
    from recurc.targets.boards import list_boards
    from recurc.targets.reach import REACH

    boards = list_boards()
    made = fitted(
        (*COLUMNS, "board's name"),
        [(*_row(b), b.title) for b in boards],
        None if console.wide else console.width,
        text=_WORDS,
        least=LEAST,
    )
    for line in made.head:
        console.print(line, style="bold")
    for kind, heading in GROUPS.items():
        members = [lines for b, lines in zip(boards, made.rows, strict=True) if b.kind == kind]
        if members:
            console.print(f"\n{heading}")
        for line in (line for lines in members for line in lines):
            console.print(line)
    console.print()
    console.left_out(made)
    console.print(paragraph(LEGEND, console.width))
    for word, meaning in REACH.items():
        if any(b.verified == word for b in boards):
            console.print(paragraph(f"{word}: {meaning}", console.width))
    console.emit_json({"boards": [_document(b) for b in boards]})


@command.command("show")
@click.argument("name")
@pass_console
def show_command(console: Console, name: str) -> None:
    """Show one board: NAME, an alias, or the path of a TOML file."""
    from recurc.targets.boards import GUARDED, load_board
    from recurc.targets.reach import reach_text

    b = load_board(name)
    clock = f"{b.clock_hz / 1e6:g} MHz" if b.clock_hz else "not modelled"
    emulator = f"QEMU {b.emulator.machine}" if b.emulator else "none" + (f"; twin {b.twin}" if b.twin else "")
    pairs = [
        ("board", f"{b.name}  {b.title}"), ("kind", b.kind), ("stands for", b.reference),
        ("chip", f"{b.chip} (chips/{b.chip}.toml)" if b.chip else ""),
        ("other names", ", ".join(b.aliases)),
        ("core", f"{b.core}, {', '.join(sorted(b.features)) or 'no extensions'}"),
        ("compiler flags", " ".join(b.cpu_flags)), ("clock", clock),
        ("tested", f"{b.verified}: {reach_text(b.family, b.verified)}"),
        ("evidence", b.evidence), *(("changed unseen", text) for text in b.unseen), ("emulator", emulator),
        ("delivered as", ", ".join(b.packages)),
        ("protection", GUARDED[b.mpu] if b.mpu else ""),
        ("boot header", f"{_size(b.boot.bytes)}, {b.boot.place}, from port {b.boot.port}" if b.boot else ""),
        ("wire", f"{b.uart.kind} {b.uart.baud or ''} {b.uart.note}".strip()),
        ("ticks", f"{b.ticks.source}, {b.ticks.hz:,} a second" if b.ticks.hz else f"{b.ticks.source}, not a time"),
        ("stack", _size(b.stack_bytes) if b.stack_bytes else ""),
    ]  # fmt: skip
    console.pairs([(k, v) for k, v in pairs if v], always=True)
    if b.regions:
        rows = []
        for r in b.regions:
            parts = [part for part, names in b.placement.items() if r.name in names]
            rows.append((r.name, r.kind, f"0x{r.base:08x}", _size(r.size), ", ".join(parts) or "-"))
        console.table(("region", "kind", "base", "size", "may hold"), rows, text_columns=("kind", "base", "may hold"))
        notes = [(r.name, "; ".join(_remarks(r))) for r in b.regions if _remarks(r)]
        console.pairs(
            [*notes, *((f"{part} goes to", ", then ".join(names)) for part, names in b.placement.items())], always=True
        )
    console.emit_json({"board": _document(b)})


def _row(b: Board) -> tuple[str, ...]:
    core = b.core
    for prefix in _CORE_PREFIXES:
        core = core.removeprefix(prefix)
    more = [r for r in b.regions if r.optional]
    flash = _kib(b.flash_bytes) + "+" * any(not r.writable for r in more)
    ram = _kib(b.ram_bytes) + "+" * any(r.writable for r in more)
    if not b.regions:
        flash = ram = "-"
    clock = f"{b.clock_hz / 1e6:g}" if b.clock_hz else "-"
    inside, outside = (_kib(n) if n else "-" for n in (b.largest("ram"), b.largest("external-ram")))
    core = core if b.family != "riscv" else core[:4]
    return (b.name, core, clock, flash, inside, outside, ram, b.verified, b.twin or "")


def _kib(n: int) -> str:
    return f"{n / 1024:.0f}" if n % 1024 == 0 else f"{n / 1024:.1f}"


def _remarks(region: Region) -> list[str]:
    waits = "" if region.wait_states is None else f"{region.wait_states or 'no'} wait states"
    return [x for x in ("optional" if region.optional else "", waits, region.note) if x]


def _size(n: int) -> str:
    """A region's size: whole MiB or KiB where it is that."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if n and n % unit == 0:
            return f"{n // unit:,} {name}"
    return f"{n:,} B"


def _document(b: Board) -> dict[str, object]:
    return {
        "name": b.name, "title": b.title, "aliases": list(b.aliases), "kind": b.kind,
        "chip": b.chip or None, "reference": b.reference,
        "family": b.family, "core": b.core,
        "features": sorted(b.features), "cpu_flags": list(b.cpu_flags), "clock_hz": b.clock_hz, "verified": b.verified,
        "packages": list(b.packages),
        "evidence": b.evidence, "unseen": list(b.unseen), "twin": b.twin, "stack_bytes": b.stack_bytes, "mpu": b.mpu,
        "flash_bytes": b.flash_bytes, "largest_ram_bytes": b.largest("ram"),
        "largest_external_ram_bytes": b.largest("external-ram"), "ram_bytes": b.ram_bytes,
        "emulator": None if b.emulator is None else {"kind": b.emulator.kind, "machine": b.emulator.machine},
        "boot": None if b.boot is None else {"port": b.boot.port, "place": b.boot.place, "bytes": b.boot.bytes},
        "regions": [
            {"name": r.name, "kind": r.kind, "base": r.base, "size": r.size, "wait_states": r.wait_states,
             "bandwidth": r.bandwidth,
             "optional": r.optional, "note": r.note}
            for r in b.regions
        ],
        "placement": {part: list(names) for part, names in b.placement.items()},
    }  # fmt: skip
