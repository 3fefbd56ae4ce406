"""The format "cmsis-pack": the library as a CMSIS pack, for Arm's tools and those of chip vendors. Nothing is compiled here."""

from __future__ import annotations

from typing import Any

from recurc.errors import InputError
from recurc.package.base import Made
from recurc.package.library import Layout, SourcesPackage
from recurc.targets.boards import Board

# Kernel set -> cores that have its instructions, as conditions of a pack say it. Others run on every core.
_CORES: dict[str, tuple[dict[str, str], ...]] = {
    "dsp": (
        *({"Dcore": f"Cortex-M{core}"} for core in ("4", "7", "52", "55", "85")),
        *({"Dcore": f"Cortex-M{core}", "Ddsp": "DSP"} for core in ("33", "35P")),
    ),
    "mve": tuple({"Dcore": f"Cortex-M{core}", "Dmve": "FP_MVE"} for core in ("52", "55", "85")),
}
_SUB_LONGEST = 32  # characters of a component's Csub


class CmsisPackage(SourcesPackage):
    """A pack with one component. Tools know it by its description, recurc.NAME.pdsc."""

    name = "cmsis-pack"
    title = "CMSIS pack"
    folder = "cmsis-pack"
    layout = Layout(
        {"recurc.NAME.pdsc": "cmsis-pack/pack.pdsc", "README.md": "cmsis-pack/README.md"}, weights="src", assembles=False
    )

    def check(self, board: Board) -> None:
        if board.family != "arm":
            raise InputError(
                f"a CMSIS pack is not for {board.name}", where=str(board.path or board.name),
                why=f"its core is a {board.core}; packs are for Arm's", next="Take another format, or a board with an Arm core",
            )  # fmt: skip

    def more(self, made: Made) -> dict[str, Any]:
        return {"cores": _CORES.get(made.sources.kernels.name, ()), "sub_longest": _SUB_LONGEST}


PACKAGE = CmsisPackage()
