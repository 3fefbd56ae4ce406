"""Package formats from outside: one builds, is listed, reported, checked, and refused by name where it is not installed."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from recurc import extensions
from recurc.api import Gate, Model
from recurc.build.manifest import PROJECT, Build, load_build
from recurc.cli.main import main
from recurc.errors import InputError, ToolchainError, UsageError
from recurc.flash import flash, stop
from recurc.package import registry
from recurc.package.base import Asked, Work
from recurc.package.library import Layout, SourcesPackage
from recurc.package.registry import package_named, packages, packages_of, register, unregister
from recurc.resources import resource_dir
from recurc.targets.boards import list_boards, load_board, parse_board, read_board
from tests.boardfiles import board_file, board_text
from tests.package.makefile import PACKAGE
from tests.randmodels import random_reasoner
from tests.tools import need

SAID = (["firmware"], ["firmware", "platformio"], ["espidf"])
GOOD = Gate(1.0, 1, "calibration puzzles", ())


@pytest.fixture(scope="module")
def quantized():
    return Model(random_reasoner(), "tiny").quantize("int4", method="min-max")


@pytest.fixture(scope="module")
def made(quantized, tmp_path_factory) -> Build:
    need("host")
    folder = tmp_path_factory.mktemp("outside")
    register(PACKAGE)
    try:
        return quantized.build(str(board_file(folder, 'packages = ["makefile"]')), folder / "out", gate=GOOD)
    finally:
        unregister("makefile")


@pytest.fixture
def installed():
    register(PACKAGE)
    yield
    unregister("makefile")


def test_a_build_holds_it_and_a_compiler_takes_it(installed, made):
    assert made.packages == ("makefile",) and made.details["packages"] == {"makefile": "library"}
    assert made.elf is None and made.boards["mine"].build_id and not (made.path / PROJECT).exists()
    listed = {name for name in made.details["files"] if name.startswith("library/")}
    assert {"library/Makefile", "library/README.md", "library/model.c", "library/weights.S"} <= listed
    assert "`tiny` at int4 for `mine`" in (made.path / "library" / "README.md").read_text()
    subprocess.run(["make", "-s", "-n", "CC=cc"], cwd=made.path / "library", check=True)


def test_the_library_compiles(made, tmp_path):
    folder = shutil.copytree(made.path / "library", tmp_path / "library")
    subprocess.run(["make", "-s", "CC=cc"], cwd=folder, check=True)
    assert (folder / "librecurc.a").stat().st_size


def test_what_lies_beside_its_files_is_refused(made, tmp_path):
    """As in any project: whoever compiles there would compile it too."""
    copy = shutil.copytree(made.path, tmp_path / "copy")
    load_build(copy)
    (copy / "library" / "more.c").write_text("int more;\n")
    with pytest.raises(InputError, match="library/more.c is not one of the build's files"):
        load_build(copy)


def test_commands_say_it(installed, made, capsys):
    assert main(["boards", "show", str(made.path / "mine" / "board.toml")]) == 0
    assert re.search("delivered as +makefile", capsys.readouterr().out)
    assert main(["boards", "show", str(made.path / "mine" / "board.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["board"]["packages"] == ["makefile"]
    assert main(["report", str(made.path)]) == 0
    assert "library with a Makefile in library/" in capsys.readouterr().out
    assert main(["report", str(made.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"] == ["makefile"]
    main(["doctor", str(made.path), "--wide"])
    assert re.search("delivered as .*library with a Makefile in library/", capsys.readouterr().out)


def test_it_is_not_flashed_and_says_so(installed, made):
    with pytest.raises(UsageError, match="library with a Makefile is not flashed") as e:
        flash(made)
    assert e.value.exit_code == 2
    with pytest.raises(UsageError, match="starts no board"):
        stop(made)


def test_where_it_is_not_installed_its_builds_are_read_and_new_ones_refused(made, quantized, tmp_path, capsys):
    assert load_build(made.path).packages == ("makefile",)
    assert main(["report", str(made.path)]) == 0
    assert "makefile, a format that is not installed here" in " ".join(capsys.readouterr().out.split())
    assert main(["doctor", str(made.path)]) in (0, 6)
    with pytest.raises(InputError, match="no package format 'makefile'"):
        flash(made)
    with pytest.raises(InputError, match="no package format 'makefile'") as e:
        quantized.build(str(board_file(tmp_path, 'packages = ["makefile"]')), tmp_path / "out", gate=GOOD)
    assert "mine.toml" in str(e.value) and not (tmp_path / "out").exists()


def test_it_may_stand_beside_ours(installed, quantized, tmp_path):
    need("mps2-an386")
    path = board_file(tmp_path, 'packages = ["firmware", "platformio", "makefile"]')
    both = quantized.build(str(path), tmp_path / "out", gate=GOOD)
    assert both.packages == ("firmware", "platformio", "makefile") and both.elf is not None and both.elf.is_file()
    assert {"project/platformio.ini", "library/Makefile"} <= set(both.details["files"])
    alone = quantized.build(str(board_file(tmp_path, "", "other")), tmp_path / "alone", gate=GOOD)
    assert alone.packages == ("firmware", "platformio"), "as in board files that do not say it"
    assert alone.elf is not None and (both.path / "src/model.c").read_bytes() == (alone.path / "src/model.c").read_bytes()


def test_a_build_whose_manifest_does_not_say_it_has_what_its_board_implies(made):
    """As builds that were made before manifests did."""
    old = replace(made, details={k: v for k, v in made.details.items() if k != "packages"})
    assert old.packages == ("makefile",)
    for name, implied in (("host", ("firmware",)), ("stm32h7", ("firmware", "platformio")), ("esp32-s3-n8r8", ("espidf",))):
        lines = board_text(name).splitlines()
        text = "\n".join(line for line in lines if line not in {f"packages = {json.dumps(said)}" for said in SAID})
        assert parse_board(text, Path("board.toml")).packages == implied


def test_an_entry_point_brings_a_format(monkeypatch):
    point = importlib.metadata.EntryPoint("makefile", "tests.package.makefile:PACKAGE", registry.ENTRY_POINTS)
    monkeypatch.setattr(extensions, "entry_points", lambda group: [point] if group == registry.ENTRY_POINTS else [])
    packages.cache_clear()
    try:
        assert package_named("makefile") is PACKAGE and {"makefile", "firmware", "platformio", "espidf"} <= set(packages())
    finally:
        packages.cache_clear()


def test_a_library_for_one_more_build_system_brings_its_templates(quantized, tmp_path):
    """By the writer of recurc's own: its files are in the bill of materials, and its README extends the library's."""
    own, board = tmp_path / "templates", read_board(board_file(tmp_path, 'packages = ["scons"]'))
    own.mkdir()
    (own / "SConstruct.py.j2").write_text("files = [{% for file in files %}{{ file | python_string }}, {% endfor %}]\n")
    (own / "README.md.j2").write_text('{% extends "library/README.md.j2" %}{% block use %}Run scons.{% endblock %}')

    class SCons(SourcesPackage):
        name, title, folder, templates = "scons", "SCons library", "scons", own
        layout = Layout({"SConstruct": "SConstruct.py", "README.md": "README.md", "NAME.pc.in": "pc.in.txt"})

    work = Work(tmp_path / "out", resource_dir("runtime_c"), quantized.model, board, lambda text: None, Asked("mine"))
    SCons().write(work, None)
    folder = work.folder / "scons"
    assert "'src/mine_model.c'" in (folder / "SConstruct").read_text() and (folder / "mine.pc.in").is_file()
    readme = (folder / "README.md").read_text()
    assert "Run scons." in readme and "mine_solve" in readme and "With CMake" not in readme
    bill = json.loads((folder / "mine.spdx.json").read_text())
    assert {"./SConstruct", "./README.md"} <= {file["fileName"] for file in bill["files"]}
    (own / "SConstruct.py.j2").unlink()
    with pytest.raises(InputError, match="a template of an extension is not there") as e:
        SCons().write(replace(work, folder=tmp_path / "again"), None)
    assert str(own / "SConstruct.py.j2") in str(e.value) and "installation" not in e.value.paragraph()


def test_names_are_single():
    class Other(type(PACKAGE)):
        name = "espidf"

    with pytest.raises(ValueError, match="espidf"):
        register(Other())


def test_a_board_that_lists_formats_in_a_wrong_order_or_twice_is_refused(quantized, tmp_path):
    need("host")
    for said, why in (('["platformio"]', "comes after firmware"), ('["espidf"]', "packages names espidf"),
                      ('["firmware", "firmware"]', "twice")):  # fmt: skip
        with pytest.raises((InputError, ToolchainError), match=why):
            quantized.build(str(board_file(tmp_path, f"packages = {said}")), tmp_path / "out", gate=GOOD)
        assert not (tmp_path / "out").exists()


def test_formats_that_cannot_be_are_refused_when_they_come():
    for change, error, why in (({"name": "two words"}, ValueError, "not one plain word"),
                               ({"folder": "src"}, ValueError, "'src' cannot be the folder"),
                               ({"folder": "../up"}, ValueError, "cannot be the folder"),
                               ({"title": None}, TypeError, "no value of a class that derives from Package")):  # fmt: skip
        with pytest.raises(error, match=why):
            register(type("Odd", (type(PACKAGE),), {"name": "odd", **change})())
    with pytest.raises(TypeError, match="no value of a class"):
        register(type(PACKAGE))  # the class in its value's place
    assert "odd" not in packages()


def test_formats_and_boards_do_not_share_a_folder(installed, quantized, tmp_path):
    class Other(type(PACKAGE)):
        name = "other"

    register(Other())
    try:
        for name, said, why in (("mine", '["makefile", "other"]', "makefile into library, other into library"),
                                ("library", '["makefile"]', "'library' names a folder of the build"),
                                ("src", '["makefile"]', "'src' names a folder of the build")):  # fmt: skip
            with pytest.raises(InputError, match=why):
                quantized.build(str(board_file(tmp_path, f"packages = {said}", name)), tmp_path / "out", gate=GOOD)
    finally:
        unregister("other")
    assert not (tmp_path / "out").exists()


def test_this_computer_is_no_board_of_a_format(installed, quantized, tmp_path):
    """Its formats were not asked, and the manifest said that they had been."""
    for name, said in (("host", '["makefile"]'), ("desk", '["firmware"]')):
        path = tmp_path / f"{name}.toml"
        text = board_text("host").replace('name = "host"', f'name = "{name}"').replace('["firmware"]', said)
        path.write_text(text)
        with pytest.raises(InputError, match="is this computer and no board to build for"):
            quantized.build(str(path), tmp_path / "out", gate=GOOD)


@pytest.mark.parametrize("board", list_boards(), ids=lambda b: b.name)
def test_every_bundled_board_says_how_it_is_delivered(board):
    assert "packages = " in board_text(board.name)
    if board.buildable:
        assert [p.name for p in packages_of(board)] == list(board.packages)
        for package in packages_of(board):
            package.check(board)
    else:
        with pytest.raises(ToolchainError):
            packages_of(load_board(board.name))
