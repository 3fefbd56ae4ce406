"""`recurc boards` and `recurc boards show`: nothing folds, every board is there, the JSON says the same."""

from __future__ import annotations

import json

import pytest

import recurc.cli.common.output as output
from recurc.cli.boards import COLUMNS, GROUPS
from recurc.cli.main import main
from recurc.targets.boards import list_boards, load_board
from recurc.targets.reach import REACH
from tests.targets.texts import BOOT, GOOD


@pytest.fixture(params=[80, 120, 160])
def width(request, monkeypatch):
    monkeypatch.setattr(output, "PIPE_WIDTH", request.param)
    return request.param


def test_the_list_fits_the_terminal_and_groups_by_kind(width, capsys):
    assert main(["boards"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= width for line in lines)
    words = " ".join(COLUMNS).split()
    assert lines[0].split()[: len(words)] == words
    at = [lines.index(heading) for heading in GROUPS.values()]
    assert at == sorted(at)
    ends = [*at[1:], next(i for i, line in enumerate(lines) if line.startswith(("no room for:", "MHz: as")))]
    for kind, start, end in zip(GROUPS, at, ends, strict=True):
        named = [line.split()[0] for line in lines[start + 1 : end] if line]
        assert named == [b.name for b in list_boards() if b.kind == kind]
    for board in list_boards():
        line = next(line for line in lines if line.split()[:1] == [board.name])
        words = line.split()
        assert board.verified in words and (board.twin is None or board.twin in words)
        if board.regions:
            assert str(board.flash_bytes // 1024) in [w.rstrip("+") for w in words]
    flat = " ".join(" ".join(lines).split())
    assert all(f"{word}: {meaning}" in flat for word, meaning in REACH.items())


def test_the_list_as_json(capsys):
    assert main(["boards", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "recurc/boards/1"
    boards = {b["name"]: b for b in document["boards"]}
    assert set(boards) == {b.name for b in list_boards()}
    budget = boards["mcu-4mb-m7"]
    assert (budget["kind"], budget["flash_bytes"], budget["largest_ram_bytes"]) == ("budget", 4 << 20, 512 << 10)
    assert "RT1064" in budget["reference"] and budget["mpu"] == "v7" and budget["evidence"]
    assert boards["soc-8mb"]["largest_external_ram_bytes"] == 8 << 20
    assert boards["teensy41"]["boot"] == {"port": "imxrt", "place": "first", "bytes": 8192}
    assert boards["stm32h7"]["unseen"] and not boards["mps2-an500"]["unseen"]
    assert boards["soc-8mb"]["placement"]["table"] == ["flash"]
    assert (boards["nucleo-h743"]["chip"], boards["host"]["chip"]) == ("stm32h7", None)


@pytest.mark.parametrize("name", [b.name for b in list_boards()])
def test_one_board(name, width, capsys):
    assert main(["boards", "show", name]) == 0
    out, board = capsys.readouterr().out, load_board(name)
    assert (f"chips/{board.chip}.toml" in out) == bool(board.chip)
    lines = out.splitlines()
    assert all(len(line) <= width for line in lines)
    flat = " ".join(out.split())
    assert ", ".join(board.packages) in flat
    for text in (board.title, board.evidence, board.reference, board.verified, *board.aliases, *board.unseen):
        assert text in flat
    for region in board.regions:
        line = next(line for line in lines if line.split()[:2] == [region.name, region.kind])
        assert f"0x{region.base:08x}" in line
    for part, names in board.placement.items():
        assert f"{part} goes to {', then '.join(names)}" in flat


def test_a_board_by_path(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("[uart]", BOOT.format(port="arm_common", place="after-vectors", bytes=20), 1))
    assert main(["boards", "show", str(path)]) == 0
    assert "20 B, after-vectors, from port arm_common" in capsys.readouterr().out
    path.write_text(GOOD.replace("features", "featurs"))
    assert main(["boards", "show", str(path)]) == 3
    assert "mine.toml" in capsys.readouterr().err
    assert main(["boards", "show", "teensy42"]) == 2
    assert "teensy41" in capsys.readouterr().err
