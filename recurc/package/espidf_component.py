"""The format "espidf-component": the library as a component for a project of the user's own. Nothing is compiled here."""

from __future__ import annotations

from recurc.errors import InputError
from recurc.package.library import Layout, SourcesPackage
from recurc.targets.boards import Board

_FAMILIES = ("xtensa", "riscv")  # cores of the chips that ESP-IDF is for


class EspidfComponentPackage(SourcesPackage):
    """A component that any project takes in. Unlike the format espidf it brings no main, no partitions and no settings."""

    name = "espidf-component"
    title = "ESP-IDF component"
    folder = "espidf-component"
    layout = Layout(
        {
            "CMakeLists.txt": "espidf-component/CMakeLists.txt",
            "idf_component.yml": "espidf-component/idf_component.yml",
            "README.md": "espidf-component/README.md",
        },
        inner=True,
    )

    def check(self, board: Board) -> None:
        if board.family not in _FAMILIES:
            raise InputError(
                f"ESP-IDF does not compile for {board.name}", where=str(board.path or board.name),
                why=f"its core is a {board.core}; Espressif's chips have Xtensa and RISC-V ones",
                next="Take another format, or a board with one of those chips",
            )  # fmt: skip


PACKAGE = EspidfComponentPackage()
