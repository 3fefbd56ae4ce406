"""The format "library": the model as C sources for a program of the user's own, under a name of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recurc import __version__
from recurc.emit.code import firmware_name
from recurc.emit.library import library_sources, weights_array, weights_assembly
from recurc.emit.naming import Prefix, default_name, library_name
from recurc.emit.sources import Sources
from recurc.files import put
from recurc.package.base import WEIGHTS, Made, Package, Work, planned
from recurc.quoting import environment
from recurc.reading import matching, read_text
from recurc.resources import license_text
from recurc.targets.boards import Board

API_VERSION = 1  # RC_API_VERSION of rc.h
_FEATURES = {
    "dsp": "This one has kernels for Cortex-M with DSP instructions, as -mcpu=cortex-m7 gives them.",
    "mve": "This one has kernels for Cortex-M with Helium, as -mcpu=cortex-m55 gives them.",
    "rvv": "This one has kernels for RISC-V with vectors, as -march=rv32gcv gives them.",
    "host": "This one chooses its kernels when it runs: by the features of the processor.",
}


class LibraryPackage(Package):
    """A folder with NAME.h, C sources, weights and CMakeLists.txt. Nothing is compiled here: sizes of code are estimates."""

    name = "library"
    title = "C library"
    folder = "library"
    named = True

    def write(self, work: Work, made: Made | None) -> Made:
        made = made or planned(work)
        prefix = library_name(work.asked.name or default_name(work.model.name))
        work.note(f"writing the library {prefix.name} ...")
        write_library(work.folder / self.folder, made.sources, work, prefix)
        return made


def write_library(folder: Path, sources: Sources, work: Work, prefix: Prefix) -> None:
    """Write a model's sources, weights and build files under a name into `folder`, which is made."""
    assert work.asked.weights in WEIGHTS, work.asked.weights
    name = prefix.name
    files = library_sources(sources, work.runtime, prefix, work.model.program.puzzle_table is not None)
    for file in [file for file in files if file.endswith(".c")]:
        folder.joinpath(file).parent.mkdir(parents=True, exist_ok=True)
    (folder / "include").mkdir()
    for file, text in files.items():
        put(folder / file, text)
    shutil.copyfile(sources.folder / "model.rcm", folder / f"{name}.rcm")
    env, context = environment(), _context(sources, work, prefix)
    compiled = sorted(file for file in files if file.endswith(".c"))
    if work.asked.weights == "incbin":
        put(folder / f"{name}_weights.S", weights_assembly(prefix, read_text(sources.folder / "weights.S")))
        compiled.append(f"{name}_weights.S")
    elif work.asked.weights == "array":
        text = env.get_template("library/weights.c.j2").render(context)
        put(folder / f"{name}_weights.c", text.replace("@ARRAY@", "\n".join(weights_array(sources.image.data))))
        compiled.append(f"{name}_weights.c")
    texts = {"CMakeLists.txt": "CMakeLists.txt", f"{name}.pc.in": "pc.in.txt", "README.md": "README.md"}
    for file, template in texts.items():
        put(folder / file, env.get_template(f"library/{template}.j2").render(context, files=compiled))
    put(folder / "LICENSE", license_text())
    put(folder / f"{name}.spdx.json", _bill(folder, sources, prefix))


def _context(sources: Sources, work: Work, prefix: Prefix) -> dict[str, Any]:
    board: Board = work.target
    return {
        **work.told, "version": __version__, "name": Markup(prefix.name), "macro": Markup(prefix.macro),
        "title": firmware_name(work.model),
        "api_version": API_VERSION, "board": board, "weights": work.asked.weights, "kernels": sources.kernels.name,
        "kernels_why": Markup(_FEATURES.get(sources.kernels.name, "This one has portable kernels, for any core.")),
        "arena_bytes": sources.arena_bytes, "image_bytes": len(sources.image.data), "config": work.model.config,
        "steps": work.model.program.steps, "forms": len(work.model.program.symmetries),
        "table": work.model.program.puzzle_table is not None, "flags": " ".join(board.cpu_flags),
        "sha256": sources.image.sha256,
    }  # fmt: skip


def _bill(folder: Path, sources: Sources, prefix: Prefix) -> str:
    """A software bill of materials: every file with its checksum, as SPDX 2.3."""
    files = sorted(path for path in matching(folder, "*", deep=True) if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    package = f"SPDXRef-{_spdx_id(prefix.name)}"
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": prefix.name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{prefix.name}-{sources.image.sha256}",
        # Builds are the same bytes whenever they are made.
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": [f"Tool: recurc-{__version__}"]},
        "packages": [{
            "name": prefix.name, "SPDXID": package, "versionInfo": f"{API_VERSION}.0", "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "comment": "The C sources are recurc's, under Apache-2.0. The weights are their owner's: recurc does not know the "
            "licence of those.",
        }],
        "files": [{
            "fileName": f"./{name}", "SPDXID": f"SPDXRef-File-{i}",
            "checksums": [{"algorithm": "SHA1", "checksumValue": hashlib.sha1(path.read_bytes()).hexdigest()},
                          {"algorithm": "SHA256", "checksumValue": hashlib.sha256(path.read_bytes()).hexdigest()}],
            "licenseConcluded": _license(name), "copyrightText": "NOASSERTION",
        } for i, (name, path) in enumerate(zip(names, files))],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": package},
            *({"spdxElementId": package, "relationshipType": "CONTAINS", "relatedSpdxElement": f"SPDXRef-File-{i}"}
              for i in range(len(names))),
        ],
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


def _spdx_id(name: str) -> str:
    """A name as SPDX has identifiers: letters, digits, dots and dashes."""
    return name.replace("_", "-")


def _license(name: str) -> str:
    """What a file is under: the weights, as a file or an array, are the model's owner's."""
    return "NOASSERTION" if name.endswith((".rcm", "_weights.c")) else "Apache-2.0"


PACKAGE = LibraryPackage()
