"""How a firmware gets onto a board: `[flash]` and `[platformio]` of board files."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.reading import shown
from recurc.targets.allowed import PACKAGE, PLATFORM, SDKCONFIG, WORD, bad_tool_word, tools
from recurc.targets.tomltable import Table

DISKS = ("uf2", "probe")
FORMATS = ("bin", "hex")
FRAMEWORKS = ("espidf",)
WORDS_LIMIT = 16
PACKAGES = ("firmware", "platformio")  # what a board is delivered in whose file does not say


@dataclass(frozen=True)
class Stock:
    """PlatformIO's own platform for the board, for those who are online: `platform` and `board` are its ids.

    `packages`: tool packages in place of the platform's defaults; `upload`: its upload protocol. `framework`: the SDK that
    brings startup, drivers and link; then there is no other way to build, and `sdkconfig` are lines of its configuration.
    """

    platform: str
    board: str
    packages: tuple[str, ...] = ()
    upload: str = ""
    framework: str = ""
    sdkconfig: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flash:
    """How a firmware gets onto the board: as a file copied to a disk, or by a tool.

    `disk` is "uf2" (boot loader) or "probe" (ST-LINK, DAPLink), `match` a text that the disk must tell of itself. In
    `command`, a tool of `recurc.targets.allowed`, and `external`, which writes what lies in external flash, {file} and
    {address} are filled in and $RECURC_NAME comes from the environment. `format` is what `command` takes, `hint` what the
    user must do first. `words`: addresses and values of words that are written with the firmware, beside it.
    """

    disk: str = ""
    match: str = ""
    uf2_family: int = 0
    command: tuple[str, ...] = ()
    format: str = "bin"
    external: tuple[str, ...] = ()
    hint: str = ""
    words: tuple[tuple[int, int], ...] = ()


def read_packages(t: Table, family: str, ports: tuple[str, ...], stock: Stock | None) -> tuple[str, ...]:
    """`packages` of a board file: the formats in which a build for it is delivered. Which ones there are recurc.package knows.

    Raises:
        InputError: no words, one of them twice, or some with firmware in them for a board without ports.
    """
    if "packages" not in t.data:
        # As in the board files of builds that were made before boards said it.
        implied = (
            (stock.framework,) if stock is not None and stock.framework else PACKAGES[:1] if family == "host" else PACKAGES
        )
        t.words("packages", [])
        return implied if ports else ()
    packages = t.words("packages", pattern=WORD)
    if len(set(packages)) != len(packages):
        raise t.bad("packages names one twice", "Leave one of the two out")
    firmware = [name for name in packages if name in (*PACKAGES, *FRAMEWORKS)]
    if firmware and not ports:
        raise t.bad(f"packages: no {firmware[0]} can be built for a board without ports", "Write packages = []")
    return packages


def read_stock(t: Table) -> Stock | None:
    """`[platformio]` of a board file; None without it. Raises InputError."""
    data = t.get("platformio", dict, None)
    if data is None:
        return None
    s = Table(data, "platformio", t.path)
    stock = Stock(s.text("platform"), s.text("board", pattern=WORD), s.words("packages", []), s.text("upload", ""),
                  s.text("framework", "", one_of=("", *FRAMEWORKS)), s.words("sdkconfig", []))  # fmt: skip
    s.close()
    # PlatformIO downloads and runs what these name.
    if not PLATFORM.fullmatch(stock.platform):
        raise s.bad(
            f"platformio: platform = {shown(stock.platform)} is none that recurc takes",
            'Name one of PlatformIO\'s own with a version: "ststm32@^19.6.0"',
        )
    if (bad := next((p for p in stock.packages if not PACKAGE.fullmatch(p)), None)) is not None:
        raise s.bad(f"platformio: package {shown(bad)} is none of PlatformIO's own", 'Write "platformio/NAME@VERSION"')
    if stock.upload and not WORD.fullmatch(stock.upload):
        raise s.bad(f"platformio: upload = {shown(stock.upload)} is not a plain word")
    for line in stock.sdkconfig:
        if not stock.framework or not SDKCONFIG.fullmatch(line):
            raise s.bad(f"platformio: sdkconfig line {shown(line)} is none", 'Write "CONFIG_NAME=y", with framework = "espidf"')
    return stock


def _words(f: Table) -> tuple[tuple[int, int], ...]:
    """`words` of [flash]: pairs of an address, a multiple of 4, and a value. Raises InputError."""
    words = f.get("words", list, [])
    for word in words:
        right = isinstance(word, list) and len(word) == 2 and all(type(n) is int and 0 <= n < 1 << 32 for n in word)
        if not right or word[0] % 4:
            raise f.bad(f"flash: words has {shown(word)}", "Write [ADDRESS, VALUE], 32 bits each, the address a multiple of 4")
    if len(words) > WORDS_LIMIT:
        raise f.bad(f"flash: {len(words)} words are written beside the firmware; {WORDS_LIMIT} at most")
    return tuple((address, value) for address, value in words)


def read_flash(t: Table) -> Flash | None:
    """`[flash]` of a board file; None without it. Raises InputError."""
    data = t.get("flash", dict, None)
    if data is None:
        return None
    f = Table(data, "flash", t.path)
    flash = Flash(
        disk=f.text("disk", "", one_of=("", *DISKS)), match=f.text("match", ""), uf2_family=f.number("uf2_family", 0),
        command=f.words("command", []), format=f.text("format", "bin", one_of=FORMATS), external=f.words("external", []),
        hint=f.text("hint", ""), words=_words(f),
    )  # fmt: skip
    f.close()
    if bool(flash.disk) == bool(flash.command):
        raise f.bad("flash: there is one way to write a firmware, disk or command", "Give one of the two")
    if flash.words and not (flash.command and flash.format == "hex"):
        raise f.bad('flash: words are written with a file of their addresses: they need command and format = "hex"')
    if (flash.disk == "uf2") != bool(flash.uf2_family):
        raise f.bad('flash: uf2_family belongs to disk = "uf2", and that needs it')
    for key, command in (("command", flash.command), ("external", flash.external)):
        if command and (bad := bad_tool_word(command)) is not None:
            raise f.bad(
                f"flash: {key} has {shown(bad)}, which is not on recurc's list of tools and of what they may be told",
                f"Tools are {', '.join(tools())}; use another one by hand on the files that a build writes",
            )
    return flash
