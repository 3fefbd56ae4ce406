"""The proof that plan and firmware agree, with a linker that does something else each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recurc.errors import PlanMismatchError
from recurc.plan.pieces import SectionSize
from recurc.plan.planner import Measured, make_plan
from recurc.storage import INT4
from recurc.targets import elf as elf_module
from recurc.targets.boards import load_board
from recurc.targets.elf import LinkedSection, check_link, differences, measure
from tests.plan.programs import program

BOARD = load_board("stm32h7")
SIZES = (SectionSize(".text", 12_001, 16), SectionSize(".recurc_image", 0, 64), SectionSize(".rodata", 1901, 8),
         SectionSize(".data", 100, 8), SectionSize(".bss", 33, 8), SectionSize(".recurc_arena", 0, 64))  # fmt: skip
PLAN = make_plan(program(hidden=64, ndim=64), INT4, BOARD, measured=Measured(SIZES))
ALIGN = {"stack": 64, "image": 64, "arena": 64}
LINKED = tuple(LinkedSection(s.name, s.address, s.bytes, 16 if s.name == ".text" else ALIGN.get(s.part, 8), s.load_address)
               for s in PLAN.sections)  # fmt: skip


@pytest.fixture
def link(monkeypatch):
    """link(section, field=value, ...) -> the linker does that to a section (None: leaves it out); () everything as planned."""

    def told(name: str = "", **changes) -> None:
        made = [replace(s, **changes) if s.name == name else s for s in LINKED if changes or s.name != name]
        monkeypatch.setattr(elf_module, "linked_sections", lambda _: tuple(made))

    return told


def test_what_is_linked_as_planned_is_good(link):
    link()
    assert differences(PLAN, Path("e")) == check_link(PLAN, Path("e"), BOARD) == ()


def test_a_trial_link_is_measured_as_it_was_laid_out(link):
    link()
    found = {s.name: s for s in measure(Path("e"), BOARD, PLAN.placement).sections}
    assert {n: (s.bytes, s.gap) for n, s in found.items()} == {s.name: (s.bytes, 0) for s in PLAN.sections if s.bytes}
    text = next(s for s in LINKED if s.name == ".text")
    link(".text", address=text.address + 512)
    assert next(s for s in measure(Path("e"), BOARD, PLAN.placement).sections if s.name == ".text").gap == 512


@pytest.mark.parametrize("section", [s.name for s in LINKED])
@pytest.mark.parametrize("field", ["address", "bytes", "load_address"])
def test_only_alignment_may_move_or_grow_a_section(link, section, field):
    planned = next(s for s in LINKED if s.name == section)
    value = getattr(planned, field)
    if field == "load_address" and not value:
        return
    for by in (planned.align - 1, 1):
        link(section, **{field: value + by})
        (found,) = check_link(PLAN, Path("e"), BOARD)
        assert (found.section, found.what, found.planned, found.linked) == (section, field.replace("_", " "), value, value + by)
    for by in (planned.align, -planned.align, 4096):
        link(section, **{field: value + by})
        with pytest.raises(PlanMismatchError, match="differs from its plan") as e:
            check_link(PLAN, Path("e"), BOARD)
        assert f"{section} {field.replace('_', ' ')}" in e.value.why


@pytest.mark.parametrize("section", [".text", ".data", ".recurc_arena"])
def test_a_section_that_is_not_there_is_no_padding(link, section):
    link(section)
    with pytest.raises(PlanMismatchError, match=f"{section} address: planned .*, linked nothing"):
        check_link(PLAN, Path("e"), BOARD)


def test_a_section_that_nobody_planned_is_no_padding(link, monkeypatch):
    more = (*LINKED, LinkedSection(".extra", 0x24000000, 4, 4))
    monkeypatch.setattr(elf_module, "linked_sections", lambda _: more)
    with pytest.raises(PlanMismatchError, match=".extra address: planned nothing"):
        check_link(PLAN, Path("e"), BOARD)


@pytest.mark.parametrize("section", [".text", ".rodata", ".recurc_image"])
@pytest.mark.parametrize("place", ["ram", "nowhere"])
def test_what_is_read_only_lies_in_memory_that_keeps_it(link, section, place):
    """A plan may be wrong too: then weights or constants would be gone after power-on."""
    address = BOARD.region("axisram").base if place == "ram" else 0xF0000000
    wrong = replace(PLAN, sections=tuple(replace(s, address=address) if s.name == section else s for s in PLAN.sections))
    link(section, address=address)
    with pytest.raises(PlanMismatchError, match=f"{section} lies in RAM"):
        check_link(wrong, Path("e"), BOARD)
    emulated = replace(BOARD, emulator=load_board("mps2-an500").emulator)
    assert check_link(wrong, Path("e"), emulated) == (), "where a loader fills the memory it may be so"
