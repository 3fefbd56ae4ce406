"""The format "zephyr": the library as a module of Zephyr that a symbol switches on. Nothing is compiled here."""

from __future__ import annotations

from recurc.package.library import Layout, SourcesPackage


class ZephyrPackage(SourcesPackage):
    """A folder that is a Zephyr module: the library's sources, and zephyr/ with module.yml, Kconfig and CMakeLists.txt."""

    name = "zephyr"
    title = "Zephyr module"
    folder = "zephyr"
    layout = Layout({
        "zephyr/module.yml": "zephyr/module.yml",
        "zephyr/Kconfig": "zephyr/Kconfig",
        "zephyr/CMakeLists.txt": "zephyr/CMakeLists.txt",
        "README.md": "zephyr/README.md",
    })  # fmt: skip


PACKAGE = ZephyrPackage()
