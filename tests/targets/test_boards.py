"""Board files: the bundled ones hold together, wrong ones are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurc.errors import InputError, UsageError
from recurc.resources import resource_dir
from recurc.targets.boards import Boot, list_boards, load_board, parse_board
from recurc.targets.regions import PARTS
from tests.boardfiles import board_text
from tests.targets.texts import BOOT, GOOD

SECOND = '[[regions]]\nname = "second"\nkind = "ram"\nbase = {base}\nsize = {size}\n\n[placement]'


def parse(text: str):
    return parse_board(text, Path("b.toml"))


def test_bandwidth_of_a_region():
    at = "size = 0x1000\n\n[[regions]]"
    assert parse(GOOD).region("flash").bandwidth is None
    assert parse(GOOD.replace(at, "bandwidth = 40_000_000\n" + at, 1)).region("flash").bandwidth == 40_000_000
    with pytest.raises(InputError, match="bandwidth = 0"):
        parse(GOOD.replace(at, "bandwidth = 0\n" + at, 1))
    assert load_board("stm32h7").region("qspi").bandwidth == 40_000_000


def test_a_format_without_firmware_takes_no_port():
    board = parse(GOOD.replace('ports = ["arm_common"]', 'ports = []\npackages = ["library"]'))
    assert board.buildable and not board.linkable


def test_the_sample_is_good():
    board = parse(GOOD)
    assert board.region("ram").end == 0x20001000
    assert [r.name for r in board.candidates("image")] == ["flash"]
    assert board.link_flags == board.cpu_flags
    assert (board.kind, board.reference, board.evidence, board.mpu, board.boot) == ("board", "", "", None, None)
    assert board.candidates("table") == ()
    assert (board.flash_bytes, board.ram_bytes, board.largest("ram"), board.largest("external-ram")) == (4096, 4096, 4096, 0)


def test_the_new_keys_are_read():
    text = GOOD.replace("clock_hz = 1", 'kind = "budget"\nreference = "a part"\nevidence = "none"\nmpu = "v7"\nclock_hz = 1')
    text = text.replace("[uart]", BOOT.format(port="arm_common", place="after-vectors", bytes=20), 1)
    board = parse(text.replace('stack = ["ram"]', 'stack = ["ram"]\ntable = ["flash"]'))
    assert (board.kind, board.reference, board.evidence, board.mpu) == ("budget", "a part", "none", "v7")
    assert board.boot == Boot("arm_common", "after-vectors", 20)
    assert [r.name for r in board.candidates("table")] == ["flash"]


def test_streamed_tables_may_lie_in_ram_only_where_a_loader_fills_it():
    emulated = '[emulator]\nkind = "qemu"\nmachine = "m"\n\n[placement]'
    text = GOOD.replace('stack = ["ram"]', 'stack = ["ram"]\ntable = ["ram"]')
    assert parse(text.replace("[placement]", emulated)).candidates("table")[0].name == "ram"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('core = "cortex-m7"', 'cores = "cortex-m7"', "'core' is missing"),
        ("clock_hz = 1000000", "clock_hz = 1000000\nclok_hz = 1", "unknown key 'clok_hz'. the nearest known: clock_hz"),
        ("baud = 115200", "baud = 115200\nbaudrate = 1", "uart: unknown key 'baudrate'. the nearest known: baud"),
        ("hz = 1000\n", "hz = 1000\nper_instruction = 0\n", "not a positive number"),
        ("size = 0x1000\n\n[[", "size = 0\n\n[[", "region 'flash' has size 0"),
        ("size = 0x1000\n\n[[", "size = -4\n\n[[", "size = -4 is outside"),
        ("base = 0x20000000", "base = 0x1_0000_0000", "base = 4294967296 is outside"),
        ("base = 0x20000000\nsize = 0x1000", "base = 0xFFFFF000\nsize = 0x2000", "beyond the 32-bit"),
        ("base = 0x20000000", "base = 0x08000800", "'flash' and 'ram' overlap at 0x08000800"),
        ('name = "ram"', 'name = "flash"', "region 'flash' is given twice"),
        ('name = "ram"', 'name = "my ram"', "not a plain word"),
        ('kind = "ram"', 'kind = "flash"', "no region is RAM"),
        ('kind = "flash"', 'kind = "ram"', "no region holds code"),
        ('kind = "ram"', 'kind = "rom"', "kind = 'rom' is not one of"),
        ('arena = ["ram"]', 'arena = ["rom"]', "there is no region 'rom'. the nearest known: ram"),
        ('arena = ["ram"]', 'arena = ["flash"]', "which cannot be written"),
        ('image = ["flash"]', 'image = ["ram"]', "empty after power-on"),
        ('image = ["flash"]', "image = []", "placement.image names no region"),
        ('image = ["flash"]', "", "'image' is missing"),
        ('ports = ["arm_common"]\nclock_hz = 1000000', "", "top level: 'ports', 'clock_hz' are missing"),
        ('kind = "cmsdk"\nbase = 0x40004000\n', "", "uart: 'kind', 'base' are missing"),
        (
            'ports = ["arm_common"]',
            'ports = []\npackages = ["library", "firmware"]',
            "no firmware can be built for a board with",
        ),
        ("stack_bytes = 4096", "stack_bytes = 100", "not a multiple of 16"),
        ("stack_bytes = 4096", 'stack_bytes = "4096"', "must be of type int"),
        ("stack_bytes = 4096", "stack_bytes = true", "must be of type int"),
        ('features = ["dsp"]', "features = [1]", "must be a list of strings"),
        ('family = "arm"', 'family = "amr"', "the nearest known: arm"),
        ('verified = "described"', 'verified = "sure"', "is not one of emulated, compiled, written, described"),
        ("[uart]", "[uart", "not TOML"),
        ("[placement]", '[defines]\n"A-B" = 1\n\n[placement]', "not a C macro name"),
        ("[placement]", '[emulator]\nkind = "renode"\nprogram = "r"\nmachine = "m"\n\n[placement]', "is not one of qemu"),
        ("[placement]", SECOND.format(base=0x20000FFF, size=16), "'ram' and 'second' overlap"),
        ('stack = ["ram"]', 'stack = ["ram"]\ntables = ["flash"]', "unknown key 'tables'. the nearest known: table"),
        ('stack = ["ram"]', 'stack = ["ram"]\ntable = ["ram"]', "placement.table: region 'ram' is ram, which is empty"),
        ('stack = ["ram"]', 'stack = ["ram"]\ntable = ["flsh"]', "there is no region 'flsh'. the nearest known: flash"),
        ("clock_hz = 1000000", 'clock_hz = 1000000\nkind = "bord"', "is not one of budget, board, emulator, host"),
        ("clock_hz = 1000000", 'clock_hz = 1000000\nevidense = "x"', "unknown key 'evidense'. the nearest known: evidence"),
        ("clock_hz = 1000000", 'clock_hz = 1000000\nrefrence = "x"', "the nearest known: reference"),
        ("clock_hz = 1000000", 'clock_hz = 1000000\nmpu = "v9"', "mpu = 'v9' is not one of v7, v8"),
        ('family = "arm"', 'family = "riscv"\nmpu = "v8"', "is Arm's memory protection unit; the family is riscv"),
        ("[uart]", BOOT.format(port="imxrt", place="first", bytes=4096), "boot.port = 'imxrt' is not one of the board's"),
        ("[uart]", BOOT.format(port="arm_common", place="last", bytes=4096), "place = 'last' is not one of first, after"),
        ("[uart]", BOOT.format(port="arm_common", place="first", bytes=100), "boot.bytes = 100 is not a multiple of 256"),
        ("[uart]", BOOT.format(port="arm_common", place="after-vectors", bytes=6), "6 is not a multiple of 4"),
        ("[uart]", BOOT.format(port="arm_common", place="first", bytes="256\nsize = 1"), "boot: unknown key 'size'"),
    ],
)
def test_wrong_boards_are_refused_with_the_reason(old, new, said):
    assert old in GOOD
    with pytest.raises(InputError) as e:
        parse(GOOD.replace(old, new, 1))
    assert said in str(e.value)
    assert "b.toml" in e.value.where


def test_bundled_boards_hold_together():
    boards = list_boards()
    names = {b.name for b in boards}
    assert {"stm32h7", "mps2-an500", "mps2-an386", "mps2-an505", "mps3-an547", "riscv32-virt", "host"} <= names
    for board in boards:
        assert board.twin is None or load_board(board.twin).emulator is not None
        assert (board.verified == "emulated") == (board.emulator is not None or board.family == "host")
        for port in board.ports:
            assert any((resource_dir("runtime_c") / "ports" / port).glob("*.[cS]")), port
        if board.family != "host":
            assert all(board.candidates(part) for part in PARTS)


def test_the_twin_has_the_same_core():
    h7, twin = load_board("stm32h7"), load_board(load_board("stm32h7").twin)
    assert (h7.core, h7.cpu_flags) == (twin.core, twin.cpu_flags)
    assert h7.region("axisram").size == 512 * 1024 and h7.region("flash").size == 2 << 20


def test_boards_are_found_by_name_alias_and_path(tmp_path):
    assert load_board("qemu-m7") is load_board("mps2-an500")
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_board(path).name == "b"


def test_unknown_boards_name_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="no board 'stm32h8'.*stm32h7"):
        load_board("stm32h8")
    with pytest.raises(InputError, match="cannot be read"):
        load_board(tmp_path / "none.toml")


def test_the_boards_readme_names_every_key():
    """A board file with an unknown key makes the reader name all keys of that table; the page must have them too."""
    page = (resource_dir("boards") / "README.md").read_text()
    wrong = {
        "clock_hz = 1000000": "clock_hz = 1000000\nzzzzzzzz = 1",
        "base = 0x40004000": "base = 0x40004000\nzzzzzzzz = 1",
        "base = 0x08000000": "base = 0x08000000\nzzzzzzzz = 1",
        'stack = ["ram"]': 'stack = ["ram"]\nzzzzzzzz = ["ram"]',
        "[uart]": BOOT.format(port="arm_common", place="first", bytes="256\nzzzzzzzz = 1"),
    }
    for old, new in wrong.items():
        with pytest.raises(InputError) as e:
            parse(GOOD.replace(old, new, 1))
        known = e.value.next.removeprefix("known: ").split(", ")
        assert len(known) >= 3
        assert [key for key in known if f"`{key}`" not in page and f"[{key}]" not in page] == []


def test_a_misspelled_key_is_named_although_the_right_one_is_missing_then():
    text = board_text("stm32h7").replace("clock_hz", "clock_hx")
    with pytest.raises(InputError, match="unknown key 'clock_hx'.*clock_hz"):
        parse_board(text, Path("x.toml"))
