"""What a build says about memory is what the linker did, to the byte, and what the emulator uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import recurc
from recurc.errors import DoesNotFitError, InputError, PlanMismatchError, ToolchainError
from recurc.make import host, project
from recurc.package import linking
from recurc.package.linking import Firmware, enlarged
from recurc.plan import planner
from recurc.plan.planner import make_plan
from recurc.storage import INT4
from recurc.targets.boards import list_boards, load_board
from recurc.targets.elf import check_link, differences, linked_sections
from tests.boardfiles import board_text
from tests.build.conftest import GOOD
from tests.tools import EMULATED, need

LINKABLE = [b.name for b in list_boards() if b.family != "host" and b.linkable]


def custom_board(folder: Path, base: str, **changes: str) -> Path:
    """A board file of the user's own: a bundled one with lines replaced ({old: new})."""
    text = board_text(base)
    lines = [line for line in text.splitlines() if not line.startswith("aliases")]
    text = "\n".join(lines).replace(f'name = "{base}"', 'name = "mine"', 1)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text + "\n")
    return path


@pytest.fixture
def no_host(monkeypatch):
    """Nothing is compiled for this computer, which these tests do not run on."""

    def host_program(folder, board, sources, runtime):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "firmware.elf").write_bytes(b"")
        return Firmware(folder / "firmware.elf", "0" * 32, None)

    def shared(sources, include_dirs, out, extra_flags=()):
        out.write_bytes(b"")
        return out

    monkeypatch.setattr(project, "host_program", host_program)
    monkeypatch.setattr(host, "compile_shared", shared)


@pytest.mark.parametrize("name", LINKABLE)
def test_planned_is_linked_exactly(name, quantized, tmp_path, no_host):
    need(name)
    build = quantized.build(name, tmp_path / "b", gate=GOOD)
    for board in (b for b in (build.target, build.twin) if b):
        entry = build.details["boards"][board]
        assert entry["link"]["agrees"] and entry["link"]["differences"] == []
        linked = linked_sections(build.boards[board].elf)
        assert [s.as_dict() for s in linked] == entry["link"]["sections"]
        for region in entry["regions"]:
            base, end = region["base"], region["base"] + region["size"]
            tops = [s.address + s.bytes for s in linked if base <= s.address < end]
            tops += [s.load_address + s.bytes for s in linked if s.load_address and base <= s.load_address < end]
            assert max(tops) - base == region["used"] == sum(region["parts"].values()), (board, region["name"])
        arena = next(s for s in linked if s.name == ".recurc_arena")
        assert arena.bytes == build.details["arena_bytes"]
        image = next(s for s in linked if s.name == ".recurc_image")
        assert image.bytes == build.details["image_bytes"] == entry["plan"]["image"]["bytes"]
        assert not entry["plan"]["estimated"] and entry["plan"]["verdict"]["fits"]
        stack = entry["plan"]["stack"]
        assert 0 < stack["worst"] <= stack["reserved"] and stack["path"][0]["function"] == "rc_reset_handler"


@pytest.mark.parametrize("name", EMULATED)
def test_the_painted_stack_is_within_the_computed_path(name, quantized, data, tmp_path):
    need(name)
    build = quantized.build(name, tmp_path / "b", gate=GOOD)
    stack = build.details["boards"][name]["plan"]["stack"]
    result = recurc.verify(build, on="qemu", dataset=recurc.load_dataset(data, "test"), limit=1, steps=1)
    assert result.bit_exact
    assert 0 < result.stack_used <= stack["worst"] <= stack["reserved"] == result.info.stack_bytes


def test_code_larger_than_its_flash_is_no_linker_error(quantized, tmp_path, no_host):
    """The least code would fit 8 KiB, so only the trial link can tell; it exits with 4, not with the linker's words."""
    need("mps2-an500")
    path = custom_board(tmp_path, "stm32h7", **{"size = 0x00200000": "size = 0x00002000", 'twin = "mps2-an500"': ""})
    with pytest.raises(DoesNotFitError) as e:
        quantized.build(str(path), tmp_path / "b", gate=GOOD)
    assert e.value.exit_code == 4 and "bytes more in flash" in e.value.what and "estimated" not in e.value.why
    summary = e.value.summary
    assert not summary["estimated"] and summary["verdict"]["region"] == "flash"
    assert f"{summary['verdict']['missing_bytes']:,}" in e.value.what
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


def test_a_stack_smaller_than_the_worst_path_is_refused(quantized, tmp_path, no_host):
    need("mps2-an500")
    reserved = load_board("stm32h7").stack_bytes
    path = custom_board(tmp_path, "stm32h7", **{f"stack_bytes = {reserved}": "stack_bytes = 1024"})
    with pytest.raises(DoesNotFitError, match="worst path") as e:
        quantized.build(str(path), tmp_path / "b", gate=GOOD)
    assert e.value.exit_code == 4 and "main" in e.value.why and "stack_bytes" in e.value.next


def test_tiles_shrink_when_the_link_leaves_less_than_the_estimate(quantized, tmp_path, monkeypatch, no_host):
    """The arena was laid out for more room than there is: all starts over with smaller tiles, and fits exactly."""
    need("mps2-an386")
    board = load_board("mps2-an386")
    program, form = quantized.model.program, quantized.model.precision.form
    roomy = make_plan(program, form, board)
    monkeypatch.setattr(planner, "ESTIMATED_DATA", 0)
    size = -(-(board.stack_bytes + roomy.layout.arena_bytes + 64) // 64) * 64
    region = board.region("ssram23")
    small = custom_board(
        tmp_path,
        "mps2-an386",
        **{f"base = {region.base:#010x}\nsize = {region.size:#010x}": f"base = {region.base:#010x}\nsize = {size:#x}"},
    )
    first = make_plan(program, form, load_board(small))
    build = quantized.build(str(small), tmp_path / "b", gate=GOOD)
    plan = build.details["boards"]["mine"]["plan"]
    assert plan["verdict"]["fits"] and plan["scratch_bytes"] < first.layout.scratch_bytes
    assert build.details["arena_bytes"] == plan["arena_bytes"]


def test_a_board_of_the_users_own_is_built_and_verified_without_its_file(quantized, data, tmp_path):
    need("mps2-an386")
    path = custom_board(tmp_path, "mps2-an386")
    build = quantized.build(str(path), tmp_path / "b", gate=GOOD)
    path.unlink()
    again = recurc.load_build(tmp_path / "b")
    assert again.target == "mine" and again.board("mine").region("ssram1").size == 4 << 20
    result = recurc.verify(again, on="qemu", dataset=recurc.load_dataset(data, "test"), limit=1, steps=1)
    assert result.bit_exact and result.board.name == "mine"
    assert build.elf.is_file()


def test_a_family_without_compiler_has_a_plan_and_a_clear_error(quantized, tmp_path):
    path = custom_board(
        tmp_path,
        "stm32h7",
        **{'family = "arm"': 'family = "xtensa"', 'twin = "mps2-an500"': "", 'verified = "compiled"': 'verified = "described"'},
    )
    board = load_board(str(path))
    assert make_plan(quantized.model.program, INT4, board).fits
    with pytest.raises(ToolchainError) as e:
        quantized.build(board, tmp_path / "b", gate=GOOD)
    assert e.value.exit_code == 6 and "plan" in e.value.why and not (tmp_path / "b").exists()


def test_a_board_of_a_known_chip_is_one_file_and_its_build_keeps_all_of_it(quantized, gate, no_host, tmp_path):
    need("mps2-an386")
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "mine"\nchip = "an386"\nstack_bytes = 4096\nverified = "emulated"\n[uart]\nbaud = 9600\n'
    )
    build = quantized.build(str(path), tmp_path / "out", gate=gate)
    kept = (build.path / "mine" / "board.toml").read_text()
    assert "chip" not in kept.split("\n", 1)[1] and "size = 0x00400000" in kept
    assert replace(build.board("mine"), path=path, chip="an386") == load_board(path)


@pytest.mark.parametrize("name", ["src", "host", "../up", "a b", ".x"])
def test_board_names_that_would_be_in_the_way(name, quantized, tmp_path):
    path = custom_board(tmp_path, "mps2-an386", **{'name = "mine"': f'name = "{name}"'})
    with pytest.raises(InputError, match="cannot be used|is not a plain word") as e:
        quantized.build(str(path), tmp_path / "b", gate=GOOD)
    assert e.value.exit_code == 3 and [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


# -- the comparison itself --------------------------------------------------------------------------------------------


@pytest.fixture
def planned(quantized, tmp_path, monkeypatch, no_host):
    """Plan, ELF and board of a real firmware."""
    need("mps2-an386")
    kept = []
    real = linking.check_link
    monkeypatch.setattr(linking, "check_link", lambda *a: (kept.append(a), real(*a))[1])
    quantized.build("mps2-an386", tmp_path / "b", gate=GOOD)
    plan, _, board = kept[0]
    return plan, tmp_path / "b" / "mps2-an386" / "firmware.elf", board


def test_any_other_address_or_size_is_a_mistake_of_ours(planned):
    plan, elf, board = planned
    assert check_link(plan, elf, board) == ()

    def changed(name, **values):
        sections = tuple(replace(s, **values) if s.name == name else s for s in plan.sections)
        return replace(plan, sections=sections)

    arena, code = plan.section(".recurc_arena"), plan.section(".text")
    for wrong in (
        changed(".recurc_arena", bytes=arena.bytes + 64),
        changed(".recurc_arena", address=arena.address - 64),
        changed(".text", bytes=code.bytes + 16),
        replace(plan, sections=tuple(s for s in plan.sections if s.name != ".bss")),
    ):
        with pytest.raises(PlanMismatchError) as e:
            check_link(wrong, elf, board)
        assert e.value.exit_code == 1 and "planned" in e.value.why and "linked" in e.value.why
    assert [d.section for d in differences(changed(".recurc_arena", address=arena.address + 8), elf)] == [".recurc_arena"]
    assert len(check_link(changed(".recurc_arena", address=arena.address + 8), elf, board)) == 1, "alignment is told"


def test_weights_in_ram_are_an_error_on_a_real_board(planned):
    """The same ELF, its flash declared to be RAM: an emulator may fill it before the start, a board cannot."""
    plan, elf, board = planned
    ram = replace(board, regions=tuple(replace(r, kind="ram") for r in board.regions))
    check_link(plan, elf, ram)
    with pytest.raises(PlanMismatchError, match="lies in RAM"):
        check_link(plan, elf, replace(ram, emulator=None))


def test_trial_links_have_room_for_everything():
    script = "a (rx) : ORIGIN = 0x08000000, LENGTH = 0x00000400\nb (rwx) : ORIGIN = 0x60000000, LENGTH = 0x40000000\n"
    assert "LENGTH = 0x10000000" in enlarged(script) and "LENGTH = 0x40000000" in enlarged(script)
    assert enlarged(script).count("ORIGIN") == 2
