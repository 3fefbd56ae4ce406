"""The library's other formats: each follows its build system's rules, and what that would compile gives the host's tokens.

Zephyr, ESP-IDF, Arduino and the CMSIS-Toolbox are not here: stand-ins define the functions that their build files call.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import kconfiglib
import numpy as np
import pytest
import yaml
from platformio.package.manifest.parser import ManifestParserFactory
from platformio.package.manifest.schema import ManifestSchema

from recurc.api import Gate, Model
from recurc.cli.main import main
from recurc.errors import InputError
from recurc.package.registry import delivered, package_named
from recurc.solve import Policy, solve
from recurc.targets import platformio as pio
from recurc.targets.boards import load_board
from tests.boardfiles import board_file
from tests.package.standins import ARDUINO_H, IDF, IDF_EARLY, PIO_INI, PIO_PLATFORM, PROGRAM, ZEPHYR, compiled_with, run
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import missing, need, need_tool

GOOD = Gate(1.0, 1, "calibration puzzles", ())
REASONER = random_reasoner("mlp_t", pos="none")
TITLE = 'a "b" */ ${x} <c> $(d) \'&'  # of the model: it means something in each of the languages
FORMATS = ("library", "zephyr", "arduino", "cmsis-pack")


@pytest.fixture(scope="module")
def quantized():
    return Model(REASONER, TITLE).quantize("int4", method="min-max")


@pytest.fixture(scope="module")
def built(quantized, tmp_path_factory) -> Path:
    """A build in several formats at once, with kernels that every compiler takes."""
    need("host")
    folder = tmp_path_factory.mktemp("formats")
    made = quantized.build(str(board_file(folder, "packages = []")), folder / "out", gate=GOOD, as_=FORMATS, name="first")
    assert made.packages == FORMATS and made.elf is None
    return made.path


@pytest.fixture(scope="module")
def outputs(quantized):
    inputs, ids = random_inputs(REASONER, 1)
    return quantized.run(inputs, np.zeros_like(ids), REASONER.config.halt_max_steps, trajectory=True)


@pytest.fixture(scope="module")
def puzzle() -> str:
    return " ".join(map(str, random_inputs(REASONER, 1)[0][0]))


@pytest.fixture(scope="module")
def expected(outputs) -> list[str]:
    """What the program is to print: the host engine's tokens."""
    return [" ".join(map(str, step[0])) + " " for step in outputs.trajectory.tokens]


@pytest.fixture
def program(puzzle, tmp_path) -> Path:
    path = tmp_path / "main.c"
    path.write_text(PROGRAM.replace("@PUZZLE@", puzzle.replace(" ", ",")))
    return path


def test_each_says_that_it_is_not_built_here(built):
    for name in FORMATS[1:]:
        (readme,) = (built / package_named(name).folder).rglob("README.md")
        assert "**Not built here" in readme.read_text(), name
        assert re.search("/, (not built here|built here with PlatformIO only)$", delivered([name])[0]), name
    assert delivered(["library"]) == ["C library in library/"]


def test_the_command_tells_of_them(built, capsys):
    assert main(["report", str(built)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Zephyr module in zephyr/, not built here" in said


def test_each_names_all_its_files_in_a_bill_of_materials(built):
    for name in FORMATS:
        (bill,) = (built / package_named(name).folder).rglob("first.spdx.json")
        listed = {entry["fileName"].removeprefix("./") for entry in json.loads(bill.read_text())["files"]}
        there = {f.relative_to(bill.parent).as_posix() for f in bill.parent.rglob("*") if f.is_file()}
        assert listed == there - {"first.spdx.json"} and "LICENSE" in listed, name


# -- Zephyr -----------------------------------------------------------------------------------------------------------

# What Zephyr's module-schema.yaml asks for, as far as a module of sources uses it.
MODULE = {
    "type": "object",
    "required": ["name", "build"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"cmake": {"type": "string"}, "kconfig": {"type": "string"}},
        },
    },
}


def zephyr_app(folder: Path, module: Path, main: Path, settings: str) -> Path:
    """Zephyr's way with a module: its settings from Kconfig, its CMakeLists.txt where module.yml says. Returns the build."""
    said = yaml.safe_load((module / "zephyr" / "module.yml").read_text())
    config = kconfiglib.Kconfig(str(module / said["build"]["kconfig"]))
    (folder / "prj.conf").write_text(settings)
    config.load_config(str(folder / "prj.conf"))
    assert not config.warnings
    values = {s.name: s.str_value for s in config.unique_defined_syms if s.str_value not in ("n", "")}
    (folder / "config.cmake").write_text("".join(f"set(CONFIG_{key} {value})\n" for key, value in values.items()))
    (folder / "CMakeLists.txt").write_text(ZEPHYR)
    if main != folder / "main.c":
        shutil.copy(main, folder / "main.c")
    run("cmake", "-S", folder, "-B", folder / "b", f"-DMODULE={module}", f"-DMODULE_CMAKE={said['build']['cmake']}")
    return folder / "b"


def test_a_zephyr_module_follows_the_schema(built):
    said = yaml.safe_load((built / "zephyr" / "zephyr" / "module.yml").read_text())
    jsonschema.validate(said, MODULE)
    assert said["name"] == "first"


def test_zephyrs_build_takes_the_module(built, program, expected, tmp_path):
    need_tool("cmake")
    module = shutil.copytree(built / "zephyr", tmp_path / "a module")  # a path that would split
    made = zephyr_app(tmp_path, module, program, "CONFIG_RECURC_FIRST=y\nCONFIG_RECURC_FIRST_HOOK_MACS=5000\n")
    run("cmake", "--build", made, "-j2")
    assert run(made / "app").splitlines() == expected
    flags = compiled_with(made, "first_model.c")
    assert "-DFIRST_HOOK_MACS=5000u" in flags
    assert [f for f in flags if f.startswith("-ffp-contract=")][-1] == "-ffp-contract=off", "the module's flags come last"
    assert [f for f in flags if f.startswith("-std=")][-1] == "-std=gnu11"


def test_a_zephyr_module_that_is_off_adds_nothing(built, program, tmp_path):
    need_tool("cmake")
    program.write_text("int main(void) { return 0; }\n")
    made = zephyr_app(tmp_path, built / "zephyr", program, "")
    assert len(json.loads((made / "compile_commands.json").read_text())) == 1


# -- ESP-IDF ----------------------------------------------------------------------------------------------------------

# What the component manager asks of idf_component.yml, as far as this one uses it.
COMPONENT = {
    "type": "object",
    "required": ["version", "dependencies"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "description": {"type": "string"},
        "dependencies": {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^>=\d+\.\d+$"}},
    },
}


@pytest.fixture(scope="module")
def component(quantized, tmp_path_factory) -> Path:
    need("host")
    out = tmp_path_factory.mktemp("idf") / "out"
    made = quantized.build("esp32-s3-n8r8", out, gate=GOOD, as_="espidf-component", name="first")
    return made.path / "espidf-component" / "first"  # the folder's name is the component's


def test_espidfs_build_takes_the_component(component, program, expected, tmp_path):
    need_tool("cmake")
    (tmp_path / "CMakeLists.txt").write_text(IDF)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCOMPONENT={component}")
    run("cmake", "--build", tmp_path / "b", "-j2")
    assert run(tmp_path / "b" / "app").splitlines() == expected
    flags = [f for f in compiled_with(tmp_path / "b", "first_model.c") if f.startswith("-ffp-contract=")]
    assert flags[-1] == "-ffp-contract=off"
    (tmp_path / "early.cmake").write_text(IDF_EARLY)
    run("cmake", f"-DCOMPONENT={component}", "-P", tmp_path / "early.cmake")


def test_a_component_follows_the_managers_rules(component):
    said = yaml.safe_load((component / "idf_component.yml").read_text())
    jsonschema.validate(said, COMPONENT)
    assert TITLE in said["description"]
    text = "\n".join(f.read_text() for f in component.rglob("*") if f.suffix in (".c", ".h", ".txt", ".yml"))
    assert "--wrap" not in text and "panic" not in text


# -- Arduino, PlatformIO ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arduino(built) -> Path:
    return built / "arduino" / "first"


@pytest.mark.parametrize("file", ["library.json", "library.properties"])
def test_platformio_takes_the_manifests(arduino, file, tmp_path):
    folder = shutil.copytree(arduino, tmp_path / "first")
    next(f for f in folder.glob("library.*") if f.name != file).unlink()
    data = ManifestParserFactory.new_from_dir(str(folder)).as_dict()
    found = ManifestSchema().load_manifest(data)
    assert (found["name"], found["version"], found["headers"]) == ("first", "1.0.0", ["first.h"])
    assert TITLE in found["description"] and found["platforms"] == ["*"]
    (example,) = found["examples"]
    assert (example["name"], example["base"], example["files"]) == ("first", "examples/first", ["first.ino"])


def test_platformio_builds_a_project_that_has_the_library(arduino, program, expected, tmp_path):
    """PlatformIO itself, for this computer: it finds the header, takes the flags of library.json, compiles src and links it."""
    need_tool("cc")
    if pio.find_platformio() is None:
        missing("PlatformIO")
    shutil.copytree(arduino, tmp_path / "lib" / "first")
    for name, text in {**PIO_PLATFORM, "platformio.ini": PIO_INI, "src/main.c": program.read_text()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = run(sys.executable, "-m", "platformio", "run", "-v", "-d", tmp_path)
    assert run(tmp_path / ".pio" / "build" / "here" / "program").splitlines() == expected
    assert re.search("-ffp-contract=off .*first_model", said), "the library's flags"


def test_arduinos_manifest_has_the_lines_that_it_asks_for(arduino):
    said = dict(line.split("=", 1) for line in (arduino / "library.properties").read_text().splitlines())
    assert all(said[k] for k in "name version author maintainer sentence paragraph category url architectures".split())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_ .-]{0,62}", said["name"]) and said["includes"] == "first.h"
    assert not list(arduino.rglob("*.S")), "Arduino takes no file into an assembly file"
    assert all(f.parent == arduino / "src" for f in (arduino / "src").rglob("*"))


def test_without_any_flag_of_ours_a_core_gets_no_fused_operations(arduino, tmp_path):
    """Arduino's own flags: the sources alone keep the bits."""
    need("mps2-an500")
    core = "-mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard -Os -std=gnu11".split()
    fused = 0
    for source in sorted((arduino / "src").glob("*.c")):
        run("arm-none-eabi-gcc", *core, "-c", f"-I{arduino / 'src'}", source, "-o", tmp_path / "one.o")
        assert not re.search(r"\tv?fn?m[as]\w*\.f", run("arm-none-eabi-objdump", "-d", tmp_path / "one.o")), source
        fused += 1
    assert fused > 5
    (tmp_path / "one.c").write_text("float f(float a, float b, float c) { return a * b + c; }\n")
    run("arm-none-eabi-gcc", *core, "-c", tmp_path / "one.c", "-o", tmp_path / "one.o")
    assert re.search(r"\tv?fn?m[as]\w*\.f", run("arm-none-eabi-objdump", "-d", tmp_path / "one.o"))


def test_the_sketch_answers_the_puzzle(arduino, outputs, puzzle, tmp_path):
    need_tool("c++")
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    (tmp_path / "main.cpp").write_text("int main() { setup(); loop(); return 0; }\n")
    # As Arduino does: the sketch becomes C++ that begins with Arduino.h.
    whole = f'#include "Arduino.h"\n{(arduino / "examples/first/first.ino").read_text()}{(tmp_path / "main.cpp").read_text()}'
    (tmp_path / "sketch.cpp").write_text(whole)
    includes = [f"-I{arduino / 'src'}", f"-I{tmp_path}"]
    run("cc", "-Os", "-r", *includes, *sorted((arduino / "src").glob("*.c")), "-nostdlib", "-o", tmp_path / "library.o")
    run(
        "c++",
        "-std=gnu++11",
        "-Wall",
        "-Werror",
        *includes,
        tmp_path / "sketch.cpp",
        tmp_path / "library.o",
        "-o",
        tmp_path / "x",
    )
    done = subprocess.run([tmp_path / "x"], input=puzzle, capture_output=True, text=True, check=True)
    steps = [(tokens[0], float(q[0][0])) for tokens, q in zip(outputs.trajectory.tokens, outputs.q)]
    answer = solve(lambda form: iter(steps), (), Policy(len(steps)))
    assert done.stdout == " ".join([*map(str, answer.tokens), "solved" if answer.solved else "not sure"]) + "\n"


# -- CMSIS ------------------------------------------------------------------------------------------------------------


def test_a_pack_follows_the_schema(built):
    """What PACK.xsd and packchk ask for, as far as a pack of one component uses it."""
    folder = built / "cmsis-pack"
    root = ElementTree.parse(folder / "recurc.first.pdsc").getroot()
    assert root.tag == "package" and re.fullmatch(r"1\.7\.\d+", root.get("schemaVersion", ""))
    for required in ("vendor", "name", "description", "url", "releases/release", "components/component/files/file"):
        assert root.find(required) is not None, required
    vendor, name = root.findtext("vendor"), root.findtext("name")
    assert f"{vendor}.{name}.pdsc" == "recurc.first.pdsc" and re.fullmatch(r"[-_A-Za-z0-9]+", f"{vendor}{name}")
    assert TITLE in root.findtext("description", "") and (folder / root.findtext("license", "")).is_file()
    component = root.find("components/component")
    for key in ("Cclass", "Cgroup"):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+()'/\-\s.]{1,31}", component.get(key, "")), key
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+():/\- .]{0,31}", component.get("Csub", ""))
    release = root.find("releases/release").get("version")
    assert release == component.get("Cversion") and re.fullmatch(r"\d+\.\d+\.\d+", release)
    conditions = {c.get("id") for c in root.iter("condition")}
    asked = {r.get("condition") for r in root.iter("require")} | {component.get("condition")}
    assert asked <= conditions
    files = {f.get("name"): f.get("category") for f in root.iter("file")}
    assert set(files.values()) == {"doc", "include", "header", "source"} and all((folder / f).exists() for f in files)
    code = {f.relative_to(folder).as_posix() for f in folder.rglob("*.[chS]")}
    assert code == {f for f, category in files.items() if category in ("source", "header")}


def test_what_a_pack_lists_compiles(built, program, expected, tmp_path):
    folder = built / "cmsis-pack"
    files = ElementTree.parse(folder / "recurc.first.pdsc").getroot().findall("components/component/files/file")
    sources = [folder / f.get("name") for f in files if f.get("category") == "source"]
    includes = [f"-I{folder / f.get('name')}" for f in files if f.get("category") == "include"]
    flags = ["-ffp-contract=off", "-fno-math-errno"]  # as the README's project file has them
    assert f"C: [{', '.join(flags)}]" in (folder / "README.md").read_text()
    run("cc", "-O1", *flags, *includes, program, *sources, "-o", tmp_path / "x")
    assert run(tmp_path / "x").splitlines() == expected


def test_a_pack_of_special_kernels_names_their_cores(quantized, tmp_path):
    made = quantized.build("mps3-an547", tmp_path / "out", gate=GOOD, as_="cmsis-pack", name="n" * 40)
    root = ElementTree.parse(made.path / "cmsis-pack" / f"recurc.{'n' * 40}.pdsc").getroot()
    cores = {a.get("Dcore"): a.get("Dmve") for a in root.iter("accept") if a.get("Dcore")}
    assert cores == {"Cortex-M52": "FP_MVE", "Cortex-M55": "FP_MVE", "Cortex-M85": "FP_MVE"}
    assert root.find("components/component").get("Csub") == "n" * 32


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, board", [("cmsis-pack", "riscv32-virt"), ("espidf-component", "stm32h7")])
def test_a_board_that_the_build_system_does_not_know_is_refused(quantized, name, board, tmp_path):
    with pytest.raises(InputError, match=board):
        quantized.build(board, tmp_path / "out", gate=GOOD, as_=name)
    assert not (tmp_path / "out").exists()


def test_this_computer_is_no_board_for_them(quantized, tmp_path):
    with pytest.raises(InputError, match="only firmware and library write for it"):
        quantized.build(replace(load_board("host")), tmp_path / "out", gate=GOOD, as_="zephyr")


def test_an_image_alone_is_not_linked_in(quantized, tmp_path):
    made = quantized.build("stm32h7", tmp_path / "out", gate=GOOD, as_=["arduino", "zephyr"], name="first", weights="file")
    for folder in (made.path / "arduino" / "first", made.path / "zephyr"):
        assert (folder / "first.rcm").is_file() and not list(folder.rglob("*_weights.*"))
        build = folder / "zephyr" / "CMakeLists.txt" if folder.name == "zephyr" else folder / "examples/first/first.ino"
        assert "first_weights" not in build.read_text() and "my_weights" in (folder / "README.md").read_text()
