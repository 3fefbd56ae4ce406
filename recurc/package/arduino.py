"""The format "arduino": one library that Arduino and PlatformIO take. Nothing is compiled here."""

from __future__ import annotations

from recurc.package.library import Layout, SourcesPackage


class ArduinoPackage(SourcesPackage):
    """A library with an example. Arduino finds headers and sources in src/, and takes in no file from an assembly file."""

    name = "arduino"
    title = "Arduino and PlatformIO library"
    folder = "arduino"
    unproven = "built here with PlatformIO only"
    layout = Layout(
        {
            "library.properties": "arduino/library.properties",
            "library.json": "arduino/library.json",
            "examples/NAME/NAME.ino": "arduino/example.ino",
            "README.md": "arduino/README.md",
        },
        header="src", weights="src", assembles=False, inner=True,
    )  # fmt: skip


PACKAGE = ArduinoPackage()
