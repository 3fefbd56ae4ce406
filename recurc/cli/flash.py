"""`recurc flash`: puts a build's firmware on its board through PlatformIO and reads back that it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recurc.arguments import argument
from recurc.cli.common.groups import takes
from recurc.cli.common.options import open_build, pass_console, trust_option
from recurc.cli.common.output import Console
from recurc.errors import UsageError

if TYPE_CHECKING:
    from recurc.build.manifest import Build
    from recurc.flash import FlashResult

_SAME = {True: "byte for byte the build's", False: "NOT the build's bytes: another compiler, or flags of your own",
         None: "compiled now by the board's own SDK; the build has none to compare it with"}  # fmt: skip


@dataclass(frozen=True)
class Upload:
    """Which board of the build it is, how it is reached, and what is written to it."""

    board: str | None
    port: str
    disk: str
    stock: bool
    firmware_only: bool
    weights_only: Path | None = None


@click.command()
@click.argument("build", metavar="BUILD", type=click.Path(path_type=Path))
@click.option(
    "--port",
    default="",
    metavar="P",
    help="Where the firmware answers: /dev/ttyACM0, any pyserial URL; for an "
    "emulated board socket://127.0.0.1:NUMBER or pty. Default: found by its USB ids, or the project's.",
)
@click.option("--board", default=None, metavar="NAME", help="Board of the build, as its emulated twin. Default: its target.")
@click.option("--disk", default="", metavar="DIR", help="Disk of the boot loader or debug probe. Default: looked for.")
@click.option("--stock", is_flag=True, help="Use PlatformIO's own platform and uploader for the board (needs its registry).")
@click.option("--firmware-only", is_flag=True, help="Leave weights and tables in external flash as they are.")
@click.option(
    "--weights-only",
    type=click.Path(path_type=Path),
    default=None,
    metavar="IMAGE",
    help="Write this image, which `recurc build --update-of BUILD` made, and leave the firmware as it is.",
)
@click.option("--stop", "stopping", is_flag=True, help="End the emulated board that an earlier flash left running.")
@trust_option
@click.option("--verbose", is_flag=True, help="Show what PlatformIO says.")
@takes(upload=Upload)
@pass_console
def command(console: Console, build: Path, stopping: bool, trust: bool, verbose: bool, upload: Upload) -> None:
    """Put the firmware in BUILD on its board and check there that it arrived, by a sha256 that the board computes.

    Weights and tables that the board keeps apart are written too. On an emulated board this starts the emulator and
    leaves it running with its UART on a TCP port: `recurc verify BUILD --on PORT` reaches it, --stop ends it.
    """
    from recurc.flash import flash, stop, write_weights

    if upload.weights_only is not None:
        _check_alone(upload, stopping)
    made = open_build(console, build, to_run=False, trust=trust)
    if stopping:
        ended = stop(made, upload.port, upload.board)
        console.print("stopped" if ended else "no emulated board of ours runs there")
        console.emit_json({"stopped": ended})
        return
    with console.progress("build and upload", 1):
        echo, given = console.note if verbose else lambda line: None, dict(vars(upload))
        image = given.pop("weights_only")
        if image is None:
            result = flash(made, **given, echo=echo)
        else:
            result = write_weights(made, image, upload.board, port=upload.port, echo=echo)
    console.emit_json(_document(made, result))
    if not console.json:
        _show(console, made, result)


def _check_alone(upload: Upload, stopping: bool) -> None:
    """That something is to be written, and no option speaks of the firmware, which stays. Raises UsageError."""
    if stopping:
        raise UsageError(
            f"{argument('stop')} writes nothing", where=argument("stop", True),
            why=f"{argument('weights_only')} names what to write", next="Leave one of the two out",
        )  # fmt: skip
    for name in ("disk", "stock", "firmware_only"):
        if value := getattr(upload, name):
            raise UsageError(
                f"{argument(name)} is about the firmware", where=argument(name, value),
                why=f"with {argument('weights_only')} it is left as it is", next="Leave one of the two out",
            )  # fmt: skip


def _document(build: Build, r: FlashResult) -> dict[str, object]:
    artifact = build.boards[r.board.name]
    return {
        "board": r.board.name, "environment": r.environment, "port": r.port or None, "process": r.process, "elf": r.elf,
        "same_elf": r.same_elf, "weights_only": r.weights_only,
        "checked": r.checked, "proof": None if r.asked.proof is None else r.asked.proof.as_dict(),
        "known_answer": r.asked.known, "build_id": artifact.build_id, "model_sha256": r.model_sha256,
        "pieces": [
            {"name": p.name, "bytes": p.bytes, "crc32": f"{p.crc:08x}", "told": None if p.told is None else f"{p.told:08x}"}
            for p in r.pieces
        ],
        "seconds": r.seconds,
    }  # fmt: skip


def _show(console: Console, build: Build, r: FlashResult) -> None:
    from recurc.cli.common.verified import proof_text

    rows = [(p.name, f"{p.bytes:,}", f"{p.crc:08x}", "not asked" if p.told is None else f"{p.told:08x}") for p in r.pieces]
    console.table(("on the board", "bytes", "CRC-32 here", "CRC-32 there"), rows)
    artifact = build.boards[r.board.name]
    console.pairs([
        ("board", r.board.title),
        ("answers", f"as build {artifact.build_id[:16]}..., model {r.model_sha256[:16]}..., on {r.port}" if r.checked
         else "not asked: no serial port of the board was found; name it with --port"),
        ("weights", "not asked" if r.asked.proof is None else proof_text(r.asked.proof)),
        ("program", "computes what its image knows of a puzzle" if r.asked.known else "not asked to compute"),
        ("firmware", "left as it is" if r.weights_only else f"{r.elf}, {_SAME[r.same_elf]}"),
        *([("runs", f"as process {r.process} until `recurc flash {build.path} --stop --port {r.port}`")] if r.process else []),
        *([("next", f"recurc verify {build.path} --on {r.port}")] if r.checked and not r.weights_only else []),
        ("took", f"{r.seconds:.1f} s"),
    ])  # fmt: skip
