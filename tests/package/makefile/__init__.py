"""A package format from outside: model and runtime as a library that a Makefile compiles with whatever compiler it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

from recurc.emit.runtime import copy_runtime
from recurc.emit.sources import engine_files
from recurc.files import put
from recurc.package.base import Made, Package, Work, planned
from recurc.quoting import environment

TEMPLATES = Path(__file__).parent / "templates"


class MakefilePackage(Package):
    """A folder with model, runtime and Makefile. Nothing is compiled here, so the sizes of code are estimates."""

    name = "makefile"
    title = "library with a Makefile"
    folder = "library"

    def write(self, work: Work, made: Made | None) -> Made:
        made = made or planned(work)
        folder, env = work.folder / self.folder, environment(str(TEMPLATES))
        files = copy_runtime(work.runtime, folder / "runtime", engine_files(made.sources.kernels, work.runtime))
        for file in made.sources.folder.iterdir():
            shutil.copyfile(file, folder / file.name)
        names = ["model.c", *(f"runtime/{name}" for name in files)]
        put(folder / "Makefile", env.get_template("Makefile.txt.j2").render(files=names))
        put(folder / "README.md", env.get_template("README.md.j2").render(**work.told))
        return made


PACKAGE = MakefilePackage()
