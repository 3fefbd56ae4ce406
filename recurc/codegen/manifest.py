"""The build folder's manifest: what a build consists of, and the check that it is whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from recurc.codegen.tablefile import TableFile
from recurc.errors import InputError
from recurc.models.reasoner import ReasonerConfig
from recurc.quant.tableformat import TableHeader
from recurc.targets.boards import Board, load_board, read_board
from recurc.targets.host import cpu_signature

MANIFEST = "recurc-build.json"
TABLE_FILE = "tables/puzzles.rct"  # the streamed puzzle table, when the model has one
RESULTS_FILE = "verified.json"  # what `verify` found, beside the manifest and no part of the build
BOARD_FILE = "board.toml"  # in each board's folder
SCHEMA = "recurc/build-folder/2"


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class BoardArtifact:
    """Firmware for one board: ELF, weights image, the image's model hash and the build id that HELLO reports.

    `elf` is None where the board's own SDK compiles the firmware, from the build's project.
    """

    elf: Optional[Path]
    image: Path
    model_sha256: str
    build_id: str


@dataclass(frozen=True)
class Build:
    """A finished build folder. `boards` holds the target and its emulated twin; `details` is the whole manifest; `kept`, just
    after it was built: what else was in the folder and still is."""

    path: Path
    name: str
    target: str
    twin: Optional[str]
    precision: str
    config: ReasonerConfig
    steps: int
    h_cycles: int
    l_cycles: int
    boards: Mapping[str, BoardArtifact]
    host_library: Path
    host_image: Path
    details: Mapping[str, Any]
    table: Optional[TableHeader] = None
    kept: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Build({self.name} for {self.target}, {self.precision}, in {str(self.path)!r})"

    @property
    def table_path(self) -> Optional[Path]:
        """File of the streamed puzzle table."""
        return self.path / TABLE_FILE if self.table else None

    def open_table(self) -> Optional[TableFile]:
        """The streamed puzzle table, for reading; None where the model has none.

        Raises:
            InputError: the file is missing, truncated, damaged or of another model.
        """
        return TableFile(self.table_path, self.table) if self.table_path else None

    @property
    def elf(self) -> Optional[Path]:
        """The target's firmware; None where the board's own SDK compiles it."""
        return self.boards[self.target].elf

    def board(self, name: str) -> Board:
        """A board that the build has firmware for, as its file was when it was built: it need not be a bundled one.

        Raises:
            InputError, UsageError: the build does not know it, and no bundled board has that name.
        """
        file = self.path / name / BOARD_FILE
        return read_board(file) if file.is_file() else load_board(name)

    @property
    def data(self) -> Optional[Path]:
        """Dataset directory that the build was calibrated with, when it is still there."""
        folder = self.details.get("data")
        return Path(folder) if folder and Path(folder).is_dir() else None


def write_manifest(folder: Path, details: Mapping[str, Any], config: ReasonerConfig) -> None:
    """Write the manifest, the last file of a build: it lists every artifact's sha256."""
    # The table, which may have gigabytes, has a checksum on each record.
    skipped = (folder / MANIFEST, folder / TABLE_FILE)
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p not in skipped]
    document = {
        "schema": SCHEMA, **details, "config": asdict(config),
        "files": {str(p.relative_to(folder)): file_sha256(p) for p in files},
    }
    document["digest"] = _digest(document)
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n")


def table_entry(header: TableHeader) -> dict[str, Any]:
    """What the manifest says of the streamed puzzle table."""
    return {"path": TABLE_FILE, "storage": header.storage, "rows": header.rows, "dim": header.dim,
            "record_bytes": header.record_bytes, "bytes": header.file_bytes, "key": header.key.hex()}


def _digest(document: Mapping[str, Any]) -> str:
    """sha256 over everything else in the manifest: damage to it is found like damage to a file."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _broken(path: Path, why: str) -> InputError:
    return InputError("this is not a usable build", where=str(path), why=why,
                      next="make it with `recurc build ... --out DIR` and pass that folder")


def load_build(path: Path | str, to_run: bool = True) -> Build:
    """Open a build folder and check that every file is the one that was built.

    Args:
        to_run: its host engine will be used here, so it must have been compiled for this CPU.

    Raises:
        InputError: no manifest, another version's, a missing or changed file.
    """
    from recurc.codegen.swap import look_at

    folder = Path(path)
    look_at(folder)
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise _broken(folder, f"it has no {MANIFEST}: never built, or the build was interrupted")
    try:
        d = json.loads(manifest.read_text())
        if d.get("schema") != SCHEMA:
            raise _broken(folder, f"its schema is {d.get('schema')!r}, this recurc reads {SCHEMA!r}")
        if d["digest"] != _digest(d):
            raise _broken(folder, f"{MANIFEST} has changed since it was written")
        for name, digest in d["files"].items():
            file = folder / name
            if not file.is_file():
                raise _broken(folder, f"{name} is missing")
            if file_sha256(file) != digest:
                raise _broken(folder, f"{name} has changed since it was built")
        if to_run and d["host_cpu"] != cpu_signature():
            raise _broken(folder, f"its host engine was compiled for {d['host_cpu']}, this computer is {cpu_signature()}")
        boards = {
            name: BoardArtifact(b["elf"] and folder / b["elf"], folder / b["image"], b["model_sha256"], b["build_id"])
            for name, b in d["boards"].items()
        }
        t = d.get("table")
        table = TableHeader(t["storage"], t["rows"], t["dim"], bytes.fromhex(t["key"])) if t else None
        if table:
            TableFile(folder / TABLE_FILE, table).close()
        return Build(
            path=folder, name=d["name"], target=d["target"], twin=d["twin"], precision=d["precision"],
            config=ReasonerConfig(**d["config"]), steps=d["steps"], h_cycles=d["h_cycles"], l_cycles=d["l_cycles"],
            boards=boards, host_library=folder / d["host_library"], host_image=folder / d["host_image"], details=d,
            table=table,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise _broken(folder, f"{MANIFEST} is damaged: {e!r}") from e
