"""The project that a build writes for a chip which only its own SDK compiles: layout, sizes, configuration, refusals."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from recurc.build.listing import TABLE_FILE
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.emit.runtime import copy_runtime
from recurc.errors import DoesNotFitError, InputError, ToolchainError, UsageError
from recurc.flash import flash
from recurc.package.base import Made, Work
from recurc.package.espidf import FIRST_FREE, PACKAGE, flash_bytes, partitions, sdkconfig
from recurc.plan.planner import make_plan
from recurc.resources import resource_dir
from recurc.storage import INT4, INT8
from recurc.targets import platformio as pio
from recurc.targets.boards import load_board, parse_board
from tests.boardfiles import board_text
from tests.espidf.conftest import FLASH_BYTES, GOOD, TARGET, WARNINGS, compiler_call, extra_images, partition_rows
from tests.pio.local import LOCAL_FOLDERS
from tests.plan.programs import program

LAYOUT = {
    "platformio.ini", "CMakeLists.txt", "README.md", "sdkconfig.defaults", "partitions.csv", ".gitignore", "src/main.c",
    "src/CMakeLists.txt", "components/recurc/CMakeLists.txt", "components/recurc/model/model.c",
    "components/recurc/model/model_config.h", "components/recurc/runtime/ports/esp_idf/rc_port_esp_idf.c",
    "components/recurc/runtime/wire/rc_server.c", "data/weights.rcm", "data/puzzles.rct", "pio/partition_data.py",
}  # fmt: skip
# Looked up in ESP-IDF 5.5.3: `config NAME` in its Kconfig files, for the ESP32-S3.
KNOWN_OPTIONS = {
    "SPIRAM", "SPIRAM_MODE_OCT", "SPIRAM_SPEED_80M", "ESP_DEFAULT_CPU_FREQ_MHZ_240", "ESP32S3_DATA_CACHE_64KB",
    "SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY", "ESPTOOLPY_FLASHSIZE_8MB", "PARTITION_TABLE_CUSTOM",
    "PARTITION_TABLE_CUSTOM_FILENAME", "COMPILER_OPTIMIZATION_PERF", "APP_REPRODUCIBLE_BUILD", "ESP_MAIN_TASK_STACK_SIZE",
    "ESP_MAIN_TASK_AFFINITY_CPU0", "ESP_TASK_WDT_EN", "ESP_TASK_WDT_INIT", "BOOTLOADER_LOG_LEVEL_NONE",
    "LOG_DEFAULT_LEVEL_NONE", "ESP_CONSOLE_UART_DEFAULT", "ESP_CONSOLE_SECONDARY_NONE",
}  # fmt: skip


def written(folder: Path, model, board) -> Made:
    """The project of a model alone, in a folder of its own."""
    (folder / TABLE_FILE).parent.mkdir(parents=True)
    model.puzzles.write(folder / TABLE_FILE)
    copy_runtime(resource_dir("runtime_c"), folder / "runtime")
    return PACKAGE.write(Work(folder, folder / "runtime", model, board, lambda text: None), None)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_project_is_whole_and_there_is_no_elf(made, project):
    files = files_of(project)
    assert LAYOUT <= set(files)
    assert made.elf is None and made.twin is None and made.boards["host"].elf.is_file()
    entry = made.details["boards"][TARGET]
    assert entry["elf"] is None and entry["kernels"] == "portable" and "link" not in entry and entry["plan"]["estimated"]
    assert not [p for p in made.path.rglob("*.elf") if "host" not in p.parts]
    assert files["data/weights.rcm"] == made.boards[TARGET].image.read_bytes()
    assert files["data/puzzles.rct"] == made.table_path.read_bytes()
    readme = files["README.md"].decode()
    assert "Written, not compiled here" in readme and made.boards[TARGET].build_id in readme and "pio run -t upload" in readme
    for name, data in files.items():
        if not name.startswith("data/"):
            assert not LOCAL_FOLDERS.search(data.decode()), f"{name} names a folder of this computer"
    env = pio.environment(project, TARGET)
    assert env.platform == "espressif32@^6.13.0" and env.options["framework"] == "espidf" and not env.local
    assert env.options["board_build.partitions"] == "partitions.csv" and (project / "pio/partition_data.py").is_file()
    assert pio.environment(project, TARGET + "-usb").options["board"] == env.options["board"]


def test_every_file_that_cmake_names_is_there_and_every_c_file_is_named(project):
    component = project / "components" / "recurc"
    named = set(re.findall(r'^ +"(\S+\.c)"$', (component / "CMakeLists.txt").read_text(), re.M))
    assert named == {str(p.relative_to(component)) for p in component.rglob("*.c")}
    assert '"main.c"' in (project / "src" / "CMakeLists.txt").read_text()
    kernels = {Path(n).parts[2] for n in named if n.startswith("runtime/kernels/")}
    assert kernels == {"portable"}, "none of the chip's vector instructions"


def test_two_builds_are_the_same_bytes(made, project, quantized, tmp_path):
    model = replace(quantized.model, known=quantized._known_answer())  # as a build computes it
    entries = written(tmp_path / "again", model, load_board(TARGET)).entries
    assert files_of(tmp_path / "again" / "project") == files_of(project)
    assert entries[TARGET]["build_id"] == made.boards[TARGET].build_id
    changed = replace(load_board(TARGET), stack_bytes=16384)
    entries = written(tmp_path / "other", model, changed).entries
    assert entries[TARGET]["build_id"] != made.boards[TARGET].build_id, "its configuration is part of the firmware"


def test_partitions_hold_what_the_upload_writes(made, project):
    rows = partition_rows(project)
    assert [r.name for r in rows] == ["factory", "weights", "puzzles"] and rows[0].type == "app"
    assert rows[0].offset % 0x10000 == 0
    end = FIRST_FREE
    for row in rows:
        assert row.offset >= end and row.offset % 0x1000 == 0 and row.size % 0x1000 == 0 and row.size > 0
        end = row.offset + row.size
    assert end <= FLASH_BYTES == flash_bytes(load_board(TARGET))
    images = extra_images(project)
    assert [offset for offset, _ in images] == [r.offset for r in rows[1:]]
    for (_, file), row in zip(images, rows[1:], strict=True):
        assert row.size - 0x1000 < file.stat().st_size <= row.size
    plan = made.details["boards"][TARGET]["plan"]
    assert images[0][1].stat().st_size == plan["image"]["bytes"] and images[1][0] == plan["table"]["address"]
    assert extra_images(project, "firmware") == []


@pytest.mark.parametrize("prog, form, arena", [
    (program("attention", seq=81, hidden=128), INT4, "sram"), (program("attention", seq=900), INT4, "psram"),
    (program(), INT8, None),
])  # fmt: skip
def test_partitions_and_configuration_follow_the_plan(prog, form, arena):
    board = load_board(TARGET)
    plan = make_plan(prog, form, board)
    assert plan.fits and (arena is None or plan.placement["arena"] == arena)
    table = {p.name: p for p in partitions(board, plan)}
    assert 0 <= table["weights"].size - plan.image_bytes < 0x1000
    assert (plan.table is None) == ("puzzles" not in table)
    lines = sdkconfig(board, plan)
    assert len(lines) == len(set(lines)) and {li.split("=")[0].removeprefix("CONFIG_") for li in lines} <= KNOWN_OPTIONS
    external = plan.placement["arena"] == "psram"
    assert ("CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY=y" in lines) == external
    assert f"CONFIG_ESP_MAIN_TASK_STACK_SIZE={board.stack_bytes}" in lines and "CONFIG_ESPTOOLPY_FLASHSIZE_8MB=y" in lines


def test_what_is_too_large_for_the_partitions_is_refused(quantized, tmp_path):
    board = load_board(TARGET)
    small = replace(board, regions=tuple(replace(r, size=0x2000) if r.name == "flash" else r for r in board.regions))
    with pytest.raises(DoesNotFitError, match="more in flash") as e:
        quantized.build(small, tmp_path / "b", gate=GOOD)
    assert e.value.exit_code == 4 and not (tmp_path / "b").exists()


@pytest.mark.parametrize("usb", [False, True])
@pytest.mark.parametrize("standard", ["c99", "gnu17"])
def test_every_file_compiles_without_a_warning(project, tmp_path, usb, standard):
    """With stand-ins for ESP-IDF's headers; the first standard is ours, the second ESP-IDF's."""
    call, files = compiler_call(project, tmp_path / "w", usb)
    for file in files:
        subprocess.run([*call, f"-std={standard}", *WARNINGS, "-fsyntax-only", str(file)], check=True)


def test_a_large_arena_goes_to_psram_in_the_source_too(quantized, tmp_path):
    """What main.c says is what sdkconfig allows: without the option ESP-IDF's macro for PSRAM is empty."""
    board = load_board(TARGET)
    regions = tuple(replace(r, size=0x3100) if r.name == "sram" else r for r in board.regions)
    small = replace(board, regions=regions, stack_bytes=8192)
    written(tmp_path / "made", quantized.model, small)
    project = tmp_path / "made" / "project"
    assert "EXT_RAM_BSS_ATTR static uint8_t arena" in (project / "src" / "main.c").read_text()
    call, files = compiler_call(project, tmp_path / "w", False)
    subprocess.run([*call, *WARNINGS, "-c", str(files[0]), "-o", str(tmp_path / "main.o")], check=True)
    sections = subprocess.run(["objdump", "-h", str(tmp_path / "main.o")], capture_output=True, text=True, check=True).stdout
    assert ".ext_ram.bss" in sections


def test_flash_says_within_seconds_that_the_registry_is_needed(made, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    monkeypatch.setattr(pio, "REGISTRY", ("127.0.0.1", 9))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ToolchainError, match="registry cannot be reached.*espressif32") as e:
        flash(made)
    assert e.value.exit_code == 6 and "own platform" not in e.value.next
    with pytest.raises(ToolchainError, match="registry cannot be reached"):
        flash(made, stock=True)
    with pytest.raises(UsageError, match="shows no disk"):
        flash(made, disk=str(tmp_path))


def test_commands_on_a_build_without_an_elf(made, capsys, tmp_path):
    assert main(["report", str(made.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["estimated"] and report["linked"] is None and "never compile or run it" in report["board"]["meaning"]
    assert main(["report", str(made.path), "--html", str(tmp_path / "r.html")]) == 0
    capsys.readouterr()
    assert "ESP-IDF project in project/" in (tmp_path / "r.html").read_text()
    assert main(["doctor", str(made.path), "--wide"]) in (0, 6)
    said = " ".join(capsys.readouterr().out.split())
    assert "whole and" in said and "unchanged" in said and "PlatformIO compiles when online" in said
    assert main(["verify", str(made.path), "--on", "qemu", "--data", "nowhere"]) in (2, 3)
    capsys.readouterr()
    (made.path / "project" / "sdkconfig.esp32-s3-n8r8").write_text("# PlatformIO leaves this\n")
    assert load_build(made.path).target == TARGET


@pytest.mark.parametrize("change, why", [
    ({'framework = "espidf"': 'framework = "arduino"'}, "is not one of"),
    ({'"CONFIG_SPIRAM=y",': '"CONFIG_SPIRAM=yes",'}, "sdkconfig line 'CONFIG_SPIRAM=yes' is none"),
    ({'"CONFIG_SPIRAM=y",': '"CONFIG_X=\\"a\\nb\\"",'}, "control character"),
    ({'framework = "espidf"\n': ""}, "with framework"),
])  # fmt: skip
def test_a_board_file_that_makes_no_sense_is_refused(change, why):
    text = board_text(TARGET)
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(InputError) as e:
        parse_board(text, Path("b.toml"))
    assert why in f"{e.value} {e.value.next}"


def test_without_ports_it_is_described_only():
    text = board_text(TARGET).replace('ports = ["esp_idf"]', "ports = []")
    with pytest.raises(InputError, match="without ports"):
        parse_board(text, Path("b.toml"))
    for packages in ("packages = []\n", ""):
        board = parse_board(text.replace('packages = ["espidf"]\n', packages), Path("b.toml"))
        assert not board.packages and not board.buildable and not board.linkable


def test_a_board_file_of_a_build_before_packages_says_espidf_by_its_framework():
    board = parse_board(board_text(TARGET).replace('packages = ["espidf"]\n', ""), Path("b.toml"))
    assert board.packages == ("espidf",) and board.buildable and not board.linkable


def test_a_real_checkout_of_esp_idf_takes_the_partitions(project, tmp_path):
    """Where RECURC_ESP_IDF names one: its own tool reads the table, its Kconfig files know every option."""
    idf = os.environ.get("RECURC_ESP_IDF")
    if not idf:
        pytest.skip("RECURC_ESP_IDF names no checkout of ESP-IDF")
    tool = Path(idf) / "components" / "partition_table" / "gen_esp32part.py"
    table = [str(project / "partitions.csv"), str(tmp_path / "p.bin")]
    subprocess.run(["python3", str(tool), "-q", "--flash-size", "8MB", *table], check=True)
    assert (tmp_path / "p.bin").read_bytes()[:2] == b"\xaa\x50"
    texts = "\n".join(p.read_text() for p in Path(idf).rglob("Kconfig*") if p.is_file())
    assert all(re.search(rf"^\s*(?:menu)?config {name}\s*$", texts, re.M) for name in KNOWN_OPTIONS)
