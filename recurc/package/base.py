"""What a package format is, and what it sees of the build that it is a part of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from recurc.arguments import argument
from recurc.build.manifest import Build
from recurc.emit.image import build_image
from recurc.emit.sources import Sources, firmware_id, write_sources
from recurc.errors import UsageError
from recurc.plan.hook import hook_macs
from recurc.plan.kernels import choose_kernels
from recurc.plan.planner import MemoryPlan, make_plan
from recurc.plan.sharing import shared_plan
from recurc.plan.summary import plan_summary
from recurc.quant.model import QuantizedModel
from recurc.targets.boards import Board
from recurc.targets.fit import refusal

Note: TypeAlias = Callable[[str], None]
Entry: TypeAlias = dict[str, Any]  # what the manifest says of one board's firmware
OWN_FOLDERS = frozenset({"src", "runtime", "tables", "host"})  # of every build, whatever it is delivered as


WEIGHTS = ("incbin", "array", "file")  # how a library holds its weights image


@dataclass(frozen=True)
class Asked:
    """What is asked of a format beyond the board.

    name: of a library; "" takes the model's. weights: of a library, one of WEIGHTS: an assembly file that takes the image in, a
    C array, or the image alone, which the program places.
    """

    name: str = ""
    weights: str = WEIGHTS[0]


NOTHING = Asked()


@dataclass(frozen=True)
class Work:
    """A build that is being made.

    folder: becomes the build, when all is in it; every path in what is written is relative to it. runtime: its copy of the C
    runtime. target: the board that it is made for. note: told what is being done, for people. asked: what its formats are to
    do beyond that.
    """

    folder: Path
    runtime: Path
    model: QuantizedModel
    target: Board
    note: Note
    asked: Asked = NOTHING

    @property
    def told(self) -> dict[str, str]:
        """Model, precision and board by name, for templates."""
        return {"name": self.model.name, "precision": self.model.precision.name, "target": self.target.name}


@dataclass(frozen=True)
class BoardFirmware:
    """One board's firmware: its plan and the build id that HELLO tells."""

    board: Board
    plan: MemoryPlan
    build_id: str


@dataclass(frozen=True)
class Made:
    """What there is of a build: its sources; the target's firmware and then its twin's; their entries in the manifest."""

    sources: Sources
    firmware: tuple[BoardFirmware, ...]
    entries: Mapping[str, Entry]


@dataclass(frozen=True)
class UploadOptions:
    """How an upload goes, see `recurc.flash.flash`."""

    port: str = ""
    disk: str = ""
    stock: bool = False
    firmware_only: bool = False
    echo: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Upload:
    """An upload that went through.

    environment: what it was made with, for people. elf: what was uploaded, where it was compiled now. port: where the firmware
    answers, "" where that is not known. process: of an emulator that was left running.
    """

    environment: str
    elf: Path
    port: str = ""
    process: int | None = None


@runtime_checkable
class Package(Protocol):
    """One format that a build is delivered in. What has a body here need not be given by a format that derives from this.

    name: in board files and manifests. title: for people. folder: of the build, with all that the format writes; "" where
    each board has one of its name. uploads: whether `flash` can put it on a board. named: whether it takes a name of its own,
    and a form of weights (`Asked`).
    """

    name: str
    title: str
    folder: str
    uploads: bool = False
    named: bool = False

    def check(self, board: Board) -> None:
        """That a board can be delivered so, before anything is written. Raises ToolchainError, InputError."""
        return None  # said, so that a format need not

    def toolchains(self, board: Board) -> tuple[str, ...]:
        """Families whose compiler a build needs on this computer, beside the host's."""
        return ()

    def write(self, work: Work, made: Made | None) -> Made:
        """Write the format's files into the build.

        Args:
            made: what the formats before it in the board's list have made; None for the first one. It has to make the
                firmware's sources; `planned` does, where nothing is compiled here.

        Returns:
            What there is now.

        Raises:
            DoesNotFitError, ToolchainError, InputError, UsageError.
        """
        ...

    def says(self) -> str:
        """For `recurc boards` and reports: what a build holds of it, in a few words."""
        return f"{self.title} in {self.folder}/" if self.folder else self.title

    def upload(self, build: Build, board: Board, options: UploadOptions) -> Upload:
        """Put the firmware on a board.

        Raises:
            UsageError: the format, or an option, is not for that. InputError, ToolchainError.
        """
        raise UsageError(
            f"{self.title} is not flashed",
            where=str(build.path),
            why="its files are for a program of your own, which brings its upload",
            next=f"Compile what is in {build.path / self.folder} into your program, and flash that as you do now"
            if self.named
            else "Build for a board that `recurc boards show` says is delivered as firmware",
        )

    def stop(self, build: Build, board: Board, port: str) -> bool:
        """End the emulated board that an upload left on a port; whether there was one.

        Raises:
            UsageError: there is none to end.
        """
        raise UsageError(
            f"{self.title} starts no board", where=argument("stop", True), why="there is no process to end", next="Leave it out"
        )


def summary_entry(plan: MemoryPlan) -> Entry:
    """What the manifest says of a plan."""
    summary = plan_summary(plan)
    return {"regions": [{k: v for k, v in r.items() if k != "pieces"} for r in summary["regions"]], "plan": summary}


def firmware_entry(folder: Path, sources: Sources, elf: Path | None, identity: str) -> Entry:
    """What the manifest says of any firmware, whoever compiles it; paths are relative to the build folder."""
    return {
        "elf": None if elf is None else str(elf.relative_to(folder)),
        "image": str((sources.folder / "model.rcm").relative_to(folder)),
        "model_sha256": sources.image.sha256,
        "build_id": identity,
        "kernels": sources.kernels.name,
        "arena_bytes": sources.arena_bytes,
        "hook_macs": sources.hook_macs,
    }


def planned(work: Work, shared: bool = False) -> Made:
    """The target's firmware with the estimated sizes of its code: sources are written, nothing is compiled here.

    Args:
        shared: it is part of a program that has other uses for RAM; see `recurc.plan.sharing`.

    Raises:
        DoesNotFitError: it does not fit with that estimate, which nothing measures here.
    """
    kernels = choose_kernels(work.target.features)
    plan = make_plan(work.model.program, work.model.forms, work.target, kernels)
    if not plan.fits:
        raise refusal(plan, work.target)
    if shared:
        plan = shared_plan(plan, work.target, work.target)
    image = build_image(work.model, kernels)
    sources = write_sources(work.folder / "src", work.model, image, kernels, plan.layout, hook_macs(plan, work.target))
    return with_identity(work, sources, plan, firmware_id(work.target, sources, work.runtime))


def with_identity(work: Work, sources: Sources, plan: MemoryPlan, identity: str) -> Made:
    """A firmware that is not compiled here, under a build id that names what it is made of."""
    entry = {**firmware_entry(work.folder, sources, None, identity), **summary_entry(plan)}
    return Made(sources, (BoardFirmware(work.target, plan, identity),), {work.target.name: entry})
