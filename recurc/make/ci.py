"""Continuous integration for a build: a GitHub Actions workflow, the puzzles it runs, and Renode's scripts."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from recurc import __version__
from recurc.arguments import argument
from recurc.build.manifest import Build, mapped_table
from recurc.dataset import Dataset, check_compatible
from recurc.errors import InputError, UsageError
from recurc.files import make_folder, write_whole
from recurc.make.renode import describable, render_renode
from recurc.quoting import environment
from recurc.targets.boards import Board
from recurc.targets.qemu import PACKAGES

WORKFLOW = ".github/workflows/recurc.yml"
FOLDER = "recurc-ci"
DATA = f"{FOLDER}/data"
RENODE = f"{FOLDER}/renode"
MINUTES = 30
_GIT_SECONDS = 10.0
_DEBIAN = ("ca-certificates", "git", "git-lfs", "python3", "python3-venv")
_PLAIN = re.compile(r"[A-Za-z0-9._/+ ,=@~-]+")


@dataclass(frozen=True)
class Source:
    """What pip installs recurc from; `certain`: whether this recurc was installed from there."""

    requirement: str
    certain: bool


@dataclass(frozen=True)
class CiFiles:
    """What `recurc ci` writes: path in the repository -> contents; and the board that the job emulates."""

    files: Mapping[str, bytes]
    emulated: str
    renode: tuple[str, ...]


def ci_files(build: Build, root: Path, dataset: Dataset, install: str) -> CiFiles:
    """The files that let GitHub verify a build that is committed in a repository.

    Args:
        root: the repository's top folder; the build must lie in it.
        dataset: the puzzles that the job runs; they are written into the repository.
        install: what pip installs recurc from, see `install_source`.

    Raises:
        UsageError: the build lies elsewhere, or neither it nor a twin is emulated.
        InputError: a path that a workflow cannot name; the dataset is not the model's.
    """
    where = _inside(build.path, root)
    board = _emulated(build)
    check_compatible(dataset, build.config, build.checkpoint)
    assert board.emulator is not None
    program = board.emulator.program
    env = environment()
    workflow = env.get_template("ci/workflow.yml.j2").render(
        version=__version__, build=where, data=DATA, emulated=board.name, install=install,
        packages=[*_DEBIAN, PACKAGES[program]], minutes=MINUTES, torch=_torch(),
    )  # fmt: skip
    files = {WORKFLOW: workflow.encode(), **{f"{DATA}/test/{name}": data for name, data in dataset_files(dataset).items()}}
    renode = _renode(build, where)
    return CiFiles({**files, **{name: text.encode() for name, text in renode.items()}}, board.name, tuple(renode))


def install_source() -> Source:
    """Where a runner can get this recurc: the repository or address it was installed from, else its version by name."""
    try:
        installed = metadata.distribution("recurc")
    except metadata.PackageNotFoundError:
        return Source(f"recurc=={__version__}", False)
    text = installed.read_text("direct_url.json")  # PEP 610; None too where it may not be read
    if text is None and any(file.name == "direct_url.json" for file in installed.files or ()):
        raise InputError(
            "how recurc was installed cannot be read",
            where="direct_url.json of its installation",
            next="Check that you may read it, or install recurc again",
        )
    told = json.loads(text) if text else {}
    url = str(told.get("url", ""))
    if "vcs_info" in told:
        return Source(f"recurc @ {told['vcs_info']['vcs']}+{url}@{told['vcs_info']['commit_id']}", True)
    if url.startswith("https://"):
        return Source(f"recurc @ {url}", True)
    return Source(f"recurc=={__version__}", not told)


def ignored_by_git(root: Path, path: Path) -> bool:
    """Whether a repository's .gitignore keeps a path out of it; False where git does not say."""
    try:
        # A repository's own configuration may name programs for git to run.
        safe = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
        done = subprocess.run(["git", *safe, "check-ignore", "-q", os.path.realpath(path)], cwd=root, timeout=_GIT_SECONDS,
                              stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _other_folder() -> str:
    return f"Name a folder that you may write with {argument('root', option='out')}"


def write_files(root: Path, files: Mapping[str, bytes], force: bool = False) -> list[Path]:
    """Write files below a folder; those that are there with these contents stay as they are. No link below it is followed.

    Raises:
        UsageError: one is there with other contents, and `force` is not given. InputError: it cannot be written.
    """
    for name, data in files.items():
        path = root / name
        for above in (root / p for p in Path(name).parents if p != Path(".")):
            if above.is_symlink():
                raise InputError(
                    "a file cannot be written",
                    where=str(path),
                    why=f"{above} is a symbolic link, and here none is followed",
                    next=_other_folder(),
                )
        if not force and path.is_file() and path.read_bytes() != data:
            raise UsageError("a file is there already, and it differs", where=str(path),
                             next=f"Keep it under another name, or overwrite it with {argument('force', True)}")  # fmt: skip
    written = []
    for name, data in files.items():
        path = root / name
        make_folder(path.parent, "a file", _other_folder())
        write_whole(path, data, "a file", _other_folder(), follow=False)
        written.append(path)
    return written


def dataset_files(dataset: Dataset) -> dict[str, bytes]:
    """A dataset's split in the reference code's form, each example a puzzle of its own: file name -> contents."""
    n = len(dataset)
    arrays = {
        "inputs": dataset.inputs, "labels": dataset.labels, "puzzle_identifiers": dataset.puzzle_ids,
        "puzzle_indices": np.arange(n + 1, dtype=np.int32), "group_indices": np.arange(n + 1, dtype=np.int32),
    }  # fmt: skip
    meta = {
        "seq_len": dataset.seq_len, "vocab_size": dataset.vocab_size, "pad_id": 0, "ignore_label_id": dataset.ignore_label_id,
        "blank_identifier_id": 0, "num_puzzle_identifiers": dataset.num_puzzle_identifiers, "total_groups": n,
        "total_puzzles": n, "mean_puzzle_examples": 1.0, "sets": ["all"],
    }  # fmt: skip
    files = {"dataset.json": (json.dumps(meta) + "\n").encode()}
    for name, array in arrays.items():
        out = BytesIO()
        np.save(out, array, allow_pickle=False)
        files[f"all__{name}.npy"] = out.getvalue()
    return files


def _inside(build: Path, root: Path) -> str:
    """The build's path in the repository.

    Raises:
        UsageError: it lies elsewhere. InputError: its name has characters that mean something to the shell or GitHub.
    """
    try:
        where = Path(os.path.realpath(build)).relative_to(os.path.realpath(root)).as_posix()
    except ValueError:
        raise UsageError("the build lies outside the repository", where=str(build), why=f"the repository is {root}",
                         next="Build into the repository with `recurc build ... --out DIR`, or name its top folder with "
                         + argument("root", option="out")) from None  # fmt: skip
    if not _PLAIN.fullmatch(where):
        raise InputError("the build's path cannot stand in a workflow", where=where,
                         why="it has characters other than letters, digits, blanks and ._/+,=@~-",
                         next="Rename the folder")  # fmt: skip
    return where


def _emulated(build: Build) -> Board:
    """The emulated board whose firmware the build has. Raises UsageError: there is none."""
    boards = {name: build.board(name) for name in (build.target, build.twin) if name and name in build.boards}
    for name, board in boards.items():
        if board.emulator is not None and build.boards[name].elf is not None:
            return board
    library = any(board.emulator is not None for board in boards.values())
    raise UsageError(
        "nothing of this build can be emulated", where=str(build.path),
        why=f"it is delivered as {' and '.join(build.packages)}, without a firmware" if library
        else f"{build.target} is not emulated and has no twin that is",
        next=f"Build it without {argument('as_', option='as')}" if library
        else "Build for a board that `recurc boards` lists as emulated, or one with a twin",
    )  # fmt: skip


def _torch() -> str:
    """What this recurc asks for of torch, as pip writes it."""
    try:
        wanted = metadata.requires("recurc") or []
    except metadata.PackageNotFoundError:
        wanted = []
    return next((r for r in wanted if re.match(r"torch\b", r) and ";" not in r), "torch")


def _renode(build: Build, where: str) -> dict[str, str]:
    """Renode's files for the target's own firmware; empty where Renode has no model of its UART."""
    board = build.board(build.target)
    if not describable(board):
        return {}
    up = os.path.relpath(".", RENODE)
    mapped = mapped_table(build, board.name)
    table = {"path": f"{up}/{where}/{mapped[0].relative_to(build.path)}", "address": mapped[1]} if mapped else None
    file = build.boards[board.name].elf
    assert file is not None  # of a board that Renode describes
    elf = file.relative_to(build.path)
    texts = render_renode(board, build_name=f"{build.name} at {build.precision}", build=where, elf=f"{up}/{where}/{elf}",
                          build_up=f"{up}/{where}", data_up=f"{up}/{DATA}", table=table)  # fmt: skip
    return {f"{RENODE}/{board.name}{suffix}": text for suffix, text in texts.items()}
