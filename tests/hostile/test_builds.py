"""What builds are made of, when it is damaged or made to harm: images, ELF files, exported loops."""

from __future__ import annotations

import json
import struct

import pytest

from recurc.emit.image import ENTRY, HEADER, check_image
from recurc.errors import InputError
from recurc.exchange.onnx_export import LOOP_FILE, loop_document
from recurc.exchange.onnx_loop import read_loop
from recurc.targets.elf import linked_sections
from recurc.targets.sourcemap import SourceMap
from tests.fuzz.loaders import loaders
from tests.fuzz.loaders.smallelf import small_elf


def test_sections_of_an_image_that_overlap(tmp_path):
    """A thousand sections that are all the whole image would each be summed."""
    loaders._image(tmp_path)
    data = bytearray((tmp_path / "model.rcm").read_bytes())
    check_image(bytes(data))
    at = HEADER.size + 2 * ENTRY.size
    kind, index, offset, size, _ = ENTRY.unpack_from(data, at)
    ENTRY.pack_into(data, at, kind, index, offset - 64, size, 0)
    fixed = loaders._with_image_sums(lambda r, d: d)
    with pytest.raises(InputError, match="section 2 overlaps"):
        check_image(fixed(_Sure(), bytes(data)))


class _Sure:
    """Chance that always corrects every sum."""

    def random(self) -> float:
        return 0.5


def _elf(at: int, form: str, value: int) -> bytes:
    data = bytearray(small_elf())
    struct.pack_into(form, data, at, value)
    return bytes(data)


SECTIONS = struct.unpack_from("<I", small_elf(), 32)[0]


@pytest.mark.parametrize("data, words", [
    (b"", "no ELF"), (b"\x7fELF", "no ELF"), (small_elf()[:100], "ELF"), (b"not an ELF file at all", "no ELF"),
    (_elf(48, "<H", 60_000), "too many sections"), (_elf(46, "<H", 0), "ELF"), (_elf(44, "<H", 60_000), "too many"),
    (_elf(SECTIONS + 40 + 20, "<I", 2**31), "outside the file"), (_elf(SECTIONS + 3 * 40 + 36, "<I", 0), ""),
    (_elf(SECTIONS + 2 * 40 + 12, "<I", 0x30000000), "no segment"), (_elf(SECTIONS + 40 + 8, "<I", 0x806), "compressed"),
])  # fmt: skip
def test_elf_files_that_lie(tmp_path, data, words):
    path = tmp_path / "a.elf"
    path.write_bytes(data)
    places = SourceMap(path)
    assert isinstance(places.riscv, bool) and (places.place(0x1008) is None or places.place(0x1008).address == 0x1008)
    if words:
        with pytest.raises(InputError, match=f"firmware cannot be read.*{words}"):
            linked_sections(path)


def test_the_small_elf_is_one(tmp_path):
    (tmp_path / "a.elf").write_bytes(small_elf())
    assert str(SourceMap(tmp_path / "a.elf").place(0x1008)) == "main (main.c:12)"
    assert [s.name for s in linked_sections(tmp_path / "a.elf")] == [".text", ".data"]


@pytest.mark.parametrize("change, words", [
    (lambda d: d["start"].update(file="/etc/passwd"), "no graph's file"), (lambda d: d.pop("heads"), "no graph's"),
    (lambda d: d["start"].update(file="../x"), "no graph's"), (lambda d: d.update(step=3), "no list"),
    (lambda d: d.update(blocks=[]), "no blocks"), (lambda d: d["start"].update(outputs="X"), "gives no states"),
    (lambda d: d["heads"].update({"from": "y"}), "read no state"), (lambda d: d["start"].pop("outputs"), "gives no states"),
    (lambda d: d["step"][0].update(count=10**12, loop=1), "turns"), (lambda d: d.update(schema="x"), "schema"),
    (lambda d: d.update(step=[{"add": ["y"], "state": "z_H", "block": "L"}]), "adds no states"),
    (lambda d: d.update(step=[{"add": ["X"], "state": "z_H", "block": ["L"]}]), "no block"),
])  # fmt: skip
def test_exported_loops_that_lie(tmp_path, change, words):
    document = json.loads(json.dumps(loop_document(loaders._model())))
    (tmp_path / LOOP_FILE).write_text(json.dumps(document))
    assert read_loop(tmp_path) == document
    change(document)
    (tmp_path / LOOP_FILE).write_text(json.dumps(document))
    with pytest.raises(InputError, match=words):
        read_loop(tmp_path)
