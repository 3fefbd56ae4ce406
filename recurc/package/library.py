"""The format "library": the model as C sources for a program of the user's own, under a name of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
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
from recurc.reading import matching, read_regular, read_text
from recurc.resources import license_text, resource_dir
from recurc.targets.boards import Board

API_VERSION = 1  # RC_API_VERSION of rc.h
_FEATURES = {
    "dsp": "This one has kernels for Cortex-M with DSP instructions, as -mcpu=cortex-m7 gives them.",
    "mve": "This one has kernels for Cortex-M with Helium, as -mcpu=cortex-m55 gives them.",
    "rvv": "This one has kernels for RISC-V with vectors, as -march=rv32gcv gives them.",
    "host": "This one chooses its kernels when it runs: by the features of the processor.",
}


@dataclass(frozen=True)
class Layout:
    """Where a format puts what a library is made of, in a folder of its own.

    header: folder of NAME.h. weights: folder of the file that holds the weights. assembles: whether its build system takes an
    assembly file; where not, the weights are a C array if the image is linked in. inner: whether all lies in a folder with the
    library's name, since the build system knows it by that. texts: file -> template; NAME in a file's name is the library's.
    """

    texts: Mapping[str, str]
    header: str = "include"
    weights: str = "."
    assembles: bool = True
    inner: bool = False

    def form(self, weights: str) -> str:
        """How the weights are held where `weights` is asked for."""
        return "array" if weights == "incbin" and not self.assembles else weights


class SourcesPackage(Package):
    """A library in C sources for one build system. Nothing is compiled here: sizes of code are estimates.

    templates: of a format outside recurc, the folder of its templates, which are searched before recurc's. unproven: what its
    build system has not shown, for people.
    """

    named = True
    layout: Layout
    templates: Path | None = None
    unproven = "not built here"

    def write(self, work: Work, made: Made | None) -> Made:
        made = made or planned(work, shared=True)
        prefix = library_name(work.asked.name or default_name(work.model.name))
        work.note(f"writing the {self.title} {prefix.name} ...")
        folder = work.folder / self.folder
        folder = folder / prefix.name if self.layout.inner else folder
        write_library(folder, made.sources, work, prefix, self.layout, self.more(made), self.templates)
        return made

    def says(self) -> str:
        return super().says() + (f", {self.unproven}" if self.unproven else "")

    def more(self, made: Made) -> dict[str, Any]:
        """What its templates are given beyond what all are."""
        return {}


class LibraryPackage(SourcesPackage):
    """A folder with NAME.h, C sources, weights and CMakeLists.txt."""

    name = "library"
    title = "C library"
    folder = "library"
    unproven = ""  # recurc's tests build with CMake
    layout = Layout({"CMakeLists.txt": "CMakeLists.txt", "NAME.pc.in": "pc.in.txt", "README.md": "README.md"})


def write_library(
    folder: Path, sources: Sources, work: Work, prefix: Prefix, layout: Layout, more: Mapping[str, Any], own: Path | None = None
) -> None:
    """Write a model's sources, weights and build files under a name into `folder`, which is made.

    Args:
        own: a folder of templates that is searched before recurc's.
    """
    assert work.asked.weights in WEIGHTS, work.asked.weights
    name, weights = prefix.name, layout.form(work.asked.weights)
    env, context = environment(first=own), {**_context(sources, work, prefix), "weights": weights, **more}
    files = library_sources(sources, work.runtime, prefix, work.model.program.puzzle_table is not None, layout.header)
    if weights == "incbin":
        file = Path(layout.weights, f"{name}_weights.S").as_posix()
        files[file] = weights_assembly(prefix, read_text(sources.folder / "weights.S"))
    elif weights == "array":
        text = env.get_template("library/weights.c.j2").render(context)
        file = Path(layout.weights, f"{name}_weights.c").as_posix()
        files[file] = text.replace("@ARRAY@", "\n".join(weights_array(sources.image.data)))
    compiled = [file for file in files if file.endswith((".c", ".S"))]
    headers = sorted(file for file in files if file.endswith(".h"))
    for file, template in layout.texts.items():
        found = env.get_template(_template(template, own))
        files[file.replace("NAME", name)] = found.render(context, files=compiled, headers=headers)
    files["LICENSE"] = license_text()
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        put(folder / file, text)
    if layout.assembles or weights == "file":
        shutil.copyfile(sources.folder / "model.rcm", folder / f"{name}.rcm")
    put(folder / f"{name}.spdx.json", _bill(folder, prefix))


def _template(name: str, own: Path | None) -> str:
    """The file of a template of `Layout.texts`: where it names no folder, an extension's own, or the library's."""
    file, ours = f"{name}.j2", f"library/{name}.j2"
    if "/" in name or (own is not None and ((own / file).is_file() or not (resource_dir("templates") / ours).is_file())):
        return file
    return ours


def _context(sources: Sources, work: Work, prefix: Prefix) -> dict[str, Any]:
    board: Board = work.target
    return {
        **work.told, "version": __version__, "name": Markup(prefix.name), "macro": Markup(prefix.macro),
        "title": firmware_name(work.model),
        "api_version": API_VERSION, "board": board, "kernels": sources.kernels.name,
        "kernels_why": Markup(_FEATURES.get(sources.kernels.name, "This one has portable kernels, for any core.")),
        "arena_bytes": sources.arena_bytes, "image_bytes": len(sources.image.data), "config": work.model.config,
        "steps": work.model.program.steps, "forms": len(work.model.program.symmetries),
        "table": work.model.program.puzzle_table is not None,
        "noise": work.model.program.lowering.noisy_runs is not None, "flags": " ".join(board.cpu_flags),
        "sha256": sources.image.sha256,
    }  # fmt: skip


def _bill(folder: Path, prefix: Prefix) -> str:
    """A software bill of materials: every file with its checksum, as SPDX 2.3."""
    files = sorted(path for path in matching(folder, "*", deep=True) if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    contents = [read_regular(path, path.stat().st_size) for path in files]
    package, sums = f"SPDXRef-{_spdx_id(prefix.name)}", sorted(hashlib.sha1(data).hexdigest() for data in contents)
    code = hashlib.sha1("".join(sums).encode()).hexdigest()  # as SPDX 2.3, 7.9, has it
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": prefix.name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{prefix.name}-{code}",
        # Builds are the same bytes whenever they are made.
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": [f"Tool: recurc-{__version__}"]},
        "packages": [{
            "name": prefix.name, "SPDXID": package, "versionInfo": f"{API_VERSION}.0", "downloadLocation": "NOASSERTION",
            "filesAnalyzed": True,
            "packageVerificationCode": {"packageVerificationCodeValue": code,
                                        "packageVerificationCodeExcludedFiles": [f"./{prefix.name}.spdx.json"]},
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "comment": "The C sources are recurc's, under Apache-2.0. The weights are their owner's: recurc does not know the "
            "licence of those.",
        }],
        "files": [{
            "fileName": f"./{name}", "SPDXID": f"SPDXRef-File-{i}",
            "checksums": [{"algorithm": "SHA1", "checksumValue": hashlib.sha1(data).hexdigest()},
                          {"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()}],
            "licenseConcluded": _license(name), "copyrightText": "NOASSERTION",
        } for i, (name, data) in enumerate(zip(names, contents))],
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
