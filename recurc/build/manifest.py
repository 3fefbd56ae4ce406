"""The build folder's manifest: what a build consists of, and the check that it is whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from recurc.alphabet import Alphabet
from recurc.build.inside import OutsideError, files_below, open_inside, read_inside, sha256_inside
from recurc.build.listing import MANIFEST, SCHEMA, TABLE_FILE, digest_of, file_sha256
from recurc.build.manifest_schema import LARGEST_MANIFEST
from recurc.build.manifest_schema import MANIFEST as MANIFEST_SHAPE
from recurc.build.swap import look_at
from recurc.build.tablefile import TableFile
from recurc.build.trust import known, untrusted
from recurc.documents.manifest import Manifest, TableEntry
from recurc.errors import InputError
from recurc.files import put
from recurc.ir.lowering import Lowering
from recurc.models.reasoner import ReasonerConfig
from recurc.quant.tableformat import TableHeader
from recurc.reading import matching, user_path
from recurc.recursion import Depth
from recurc.targets.boards import Board, bundled_board, read_board
from recurc.targets.host import cpu_signature
from recurc.text import one_line

RESULTS_FILE = "verified.json"  # what `verify` found, beside the manifest and no part of the build
BOARD_FILE = "board.toml"  # in each board's folder
PROJECT = "project"  # sources of the firmware, for PlatformIO or an SDK
# Caches and configurations that tools leave in a project. `recurc flash` uses none of them.
_LEFT_BY_TOOLS = re.compile(r"\.pio/.*|build/.*|sdkconfig|sdkconfig\.[A-Za-z0-9._-]+", re.DOTALL)


@dataclass(frozen=True)
class BoardArtifact:
    """Firmware for one board: ELF, weights image, the image's model hash and the build id that HELLO reports.

    `elf` is None where the board's own SDK compiles the firmware, from the build's project.
    """

    elf: Path | None
    image: Path
    model_sha256: str
    build_id: str


@dataclass(frozen=True)
class Build:
    """A finished build folder. `boards` holds the target and its emulated twin; `details` is the whole manifest.

    `trusted`: this user built it on this computer, or has said that its native code may be run. `kept`, just after it was
    built: what else was in the folder and still is.
    """

    path: Path
    name: str
    target: str
    twin: str | None
    precision: str
    config: ReasonerConfig
    lowering: Lowering
    boards: Mapping[str, BoardArtifact]
    library: Path
    host_image: Path
    details: Manifest
    table: TableHeader | None = None
    trusted: bool = False
    kept: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Build({self.name} for {self.target}, {self.precision}, in {str(self.path)!r})"

    @property
    def packages(self) -> tuple[str, ...]:
        """The formats that it is delivered in, by name, in the order in which they were made; see recurc.package.

        Of a build that was made before manifests said it, those that its board's file implies.
        """
        said = self.details.get("packages")
        return tuple(said) if said else self.board(self.target).packages

    @property
    def depth(self) -> Depth:
        """How often the compiled model turns."""
        return self.lowering.depth(self.config)

    @property
    def steps(self) -> int:
        """Supervision steps that it is compiled for."""
        return self.depth.steps

    @property
    def h_cycles(self) -> int:
        """High-level cycles of a step."""
        return self.depth.h_cycles

    @property
    def l_cycles(self) -> int:
        """Low-level cycles of a high-level one."""
        return self.depth.l_cycles

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed of the checkpoint when the build was made."""
        made = self.details.get("checkpoint")
        return tuple(made.get("notes", ())) if made else ()

    @property
    def checkpoint(self) -> str | None:
        """File of the checkpoint that it was built from; it need not be there any more."""
        made = self.details.get("checkpoint")
        return made["source"] if made else None

    @property
    def symbols(self) -> str:
        """Characters of tokens 1, 2, ..., as its dataset names them; "" where it does not."""
        return str(self.details.get("symbols", ""))

    @property
    def host_library(self) -> Path:
        """The host engine's shared library, to be loaded into this process.

        Raises:
            UntrustedBuildError: this user did not build it here, and has not said that it may be run.
        """
        self.may_run("its host engine would be loaded into this process")
        return self.library

    def may_run(self, action: str) -> None:
        """That native code of the build may be run.

        Args:
            action: what would happen, as the error says it: "its host engine would be loaded into this process".

        Raises:
            UntrustedBuildError: this user did not build it here, and has not said that it may be run.
        """
        if not self.trusted:
            raise untrusted(self.path, action)

    @property
    def table_path(self) -> Path | None:
        """File of the streamed puzzle table."""
        return self.path / TABLE_FILE if self.table else None

    def open_table(self) -> TableFile | None:
        """The streamed puzzle table, for reading; None where the model has none.

        Raises:
            InputError: the file is missing, truncated, damaged or of another model.
        """
        return TableFile(self.table_path, self.table) if self.table_path else None

    @property
    def elf(self) -> Path | None:
        """The target's firmware; None where the board's own SDK compiles it."""
        return self.boards[self.target].elf

    def board(self, name: str) -> Board:
        """A board that the build has firmware for, as its file was when it was built: it need not be a bundled one.

        Raises:
            InputError, UsageError: the build does not know it, and no bundled board has that name.
        """
        if f"{name}/{BOARD_FILE}" in self.details["files"]:
            return read_board(self.path / name / BOARD_FILE)
        return bundled_board(name)

    @property
    def data(self) -> Path | None:
        """Dataset directory that the build was calibrated with, when it is still there."""
        folder = self.details.get("data")
        return Path(folder) if folder and Path(folder).is_dir() else None

    @property
    def no_data(self) -> str:
        """Why there is no `data`, as a clause for a message."""
        if folder := self.details.get("data"):
            return f"its dataset {folder} is gone"
        how = "with arrays from memory, which lie in no folder" if self.details.get("data_in_memory") else "without a dataset"
        return f"it was built {how}"


def mapped_table(build: Build, board: str) -> tuple[Path, int] | None:
    """File and address of the puzzle table in a board's memory; None where there is none, or rows go over the wire."""
    plan = build.details["boards"][board].get("plan")
    place = plan["table"] if plan else None
    if place is None or place["address"] is None:
        return None
    assert build.table_path is not None  # the plan is of this model
    return build.table_path, place["address"]


def write_manifest(folder: Path, details: Mapping[str, Any], config: ReasonerConfig) -> str:
    """Write the manifest, the last file of a build: it lists every artifact's sha256.

    Returns:
        The manifest's digest: it names this very build.
    """
    # The table, which may have gigabytes, has a checksum on each record.
    skipped = (folder / MANIFEST, folder / TABLE_FILE)
    files = [p for p in matching(folder, "*", deep=True) if p.is_file() and p not in skipped]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        **details,
        "config": asdict(config),
        "files": {str(p.relative_to(folder)): file_sha256(p) for p in files},
    }
    document["digest"] = digest = digest_of(document)
    put(folder / MANIFEST, json.dumps(document, indent=2) + "\n")
    return digest


def table_entry(header: TableHeader) -> TableEntry:
    """What the manifest says of the streamed puzzle table."""
    return {
        "path": TABLE_FILE,
        "storage": cast(Literal["fp32", "int8"], header.storage),  # a table is held to them
        "rows": header.rows,
        "dim": header.dim,
        "record_bytes": header.record_bytes,
        "bytes": header.file_bytes,
        "key": header.key.hex(),
    }


def _broken(path: Path, why: str, next: str = "make it with `recurc build ... --out DIR` and pass that folder") -> InputError:
    return InputError("this is not a usable build", where=str(path), why=why, next=next)


def load_build(path: Path | str, to_run: bool = True, trust: bool = False) -> Build:
    """Open a build folder and check that every file is the one that was built. Nothing of it is run, whoever made it.

    Args:
        to_run: its host engine will be used here, so it must have been compiled for this CPU.
        trust: its native code may be run although this user did not build it on this computer; see `Build.trusted`.

    Raises:
        InputError: no manifest, another version's, a missing or changed file, one that is not listed among the sources, a
            path that leaves the folder.
    """
    folder = user_path(path)
    look_at(folder)
    document = _read_manifest(folder)
    d = cast(Manifest, document)
    try:
        MANIFEST_SHAPE(document, "the manifest")
        listed = d["files"]
        for name in (d["host_library"], d["host_image"], *(n for b in d["boards"].values() for n in (b["elf"], b["image"]))):
            if name is not None and name not in listed:
                raise _broken(folder, f"{MANIFEST} names {name} and does not list it")
        if d.get("symbols"):
            Alphabet(d["symbols"])
        if d["target"] not in d["boards"]:
            raise _broken(folder, f"it has no firmware for its target {d['target']}")
    except ValueError as e:
        raise _broken(folder, f"{MANIFEST} is damaged: {e}") from None
    _check_files(folder, listed, d.get("packages", {}).values())
    if to_run and d["host_cpu"] != cpu_signature():
        raise _broken(folder, f"its host engine was compiled for {d['host_cpu']}, this computer is {cpu_signature()}")
    boards = {
        name: BoardArtifact(folder / b["elf"] if b["elf"] else None, folder / b["image"], b["model_sha256"], b["build_id"])
        for name, b in d["boards"].items()
    }
    return Build(
        path=folder,
        name=d["name"],
        target=d["target"],
        twin=d["twin"],
        precision=d["precision"],
        config=ReasonerConfig(**d["config"]),
        lowering=Lowering.of_manifest(d),
        boards=boards,
        library=folder / d["host_library"],
        host_image=folder / d["host_image"],
        details=d,
        table=_open_table(folder, d.get("table")),
        trusted=trust or known(d["digest"]),
    )


def manifest_digest(folder: Path) -> str:
    """The digest that stands for the whole build in a folder. Raises InputError: there is none now."""
    return str(_read_manifest(folder)["digest"])


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest's document, its schema and digest checked.

    Raises:
        InputError: there is none, it is another version's, or it has changed.
    """
    try:
        text = read_inside(folder, MANIFEST, LARGEST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        raise _broken(folder, f"it has no {MANIFEST}: never built, or the build was interrupted") from None
    except (OSError, OutsideError) as e:
        raise _broken(folder, f"{MANIFEST} cannot be read: {e}") from None
    try:
        d = json.loads(text)
        if not isinstance(d, dict):
            raise ValueError("it is no table")
        if d.get("schema") != SCHEMA:
            raise _broken(folder, f"its schema is {one_line(d.get('schema'))[:80]!r}, this recurc reads {SCHEMA!r}")
        if d.get("digest") != digest_of(d):
            raise _broken(folder, f"{MANIFEST} has changed since it was written")
    except (ValueError, RecursionError) as e:
        raise _broken(folder, f"{MANIFEST} is damaged: {one_line(e)[:200]}") from None
    return d


def _check_files(folder: Path, listed: Mapping[str, str], packages: Iterable[str]) -> None:
    """That every listed file is there and is the one that was built, and that nothing else lies among the sources.

    Args:
        packages: folders of the formats that the build is delivered in.

    Raises:
        InputError: one is missing, has changed, is a link or not listed.
    """
    for package in sorted({PROJECT, *packages} - {""}):  # whatever the manifest says of it, a project is one
        try:
            sources = sorted(files_below(folder / package))
        except OSError as e:
            raise _broken(folder, f"{e.filename or package} cannot be listed: {e.strerror}") from None
        for name in sources:
            own = f"{package}/{name}"
            # An unlisted source would be compiled into the firmware by whoever compiles what lies there.
            if own not in listed and not _LEFT_BY_TOOLS.fullmatch(name):
                raise _broken(
                    folder,
                    f"{own} is not one of the build's files, and what lies in {package} is compiled",
                    "Remove it, or move the project elsewhere to change it",
                )
    for name, digest in listed.items():
        try:
            found = sha256_inside(folder, name)
        except FileNotFoundError:
            raise _broken(folder, f"{name} is missing") from None
        except (OSError, OutsideError) as e:
            raise _broken(folder, f"{name} cannot be read: {e}") from None
        if found != digest:
            raise _broken(folder, f"{name} has changed since it was built")


def _open_table(folder: Path, entry: TableEntry | None) -> TableHeader | None:
    """Header of the streamed puzzle table, which is there and belongs to the model."""
    if entry is None:
        return None
    table = TableHeader(entry["storage"], entry["rows"], entry["dim"], bytes.fromhex(entry["key"]))
    try:
        os.close(open_inside(folder, TABLE_FILE))
    except FileNotFoundError:
        pass  # said below
    except (OSError, OutsideError) as e:
        raise _broken(folder, f"{TABLE_FILE} cannot be read: {e}") from None
    TableFile(folder / TABLE_FILE, table).close()
    return table
