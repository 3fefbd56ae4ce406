"""The table and chart of an estimate with round numbers: every figure in them can be checked in the head."""

from __future__ import annotations

import pytest

from recurc.report.timing import time_bars, time_facts, time_rows


def work(name: str, instructions: int, cycles: int, total: int = 4000) -> dict:
    return {"name": name, "macs": 10 * instructions, "flash_bytes": 64, "ram_bytes": 128, "instructions": instructions,
            "cycles": cycles, "share": cycles / total, "seconds": cycles / 1000}  # fmt: skip


def estimate(waits: int = 1000, **changes) -> dict:
    """4,000 cycles at 1 kHz: a quarter waits for flash, almost all else is token mixing."""
    classes = [work("token mixing", 2000, 2999), work("heads", 1, 1)]
    return {"classes": classes, "flash_waits": {"cycles": waits, "note": "slow flash"}, "cycles": 4000, "clock_hz": 1000,
            "seconds": 4.0, "macs": 20_010, "instructions": 2001, "instructions_per_mac": 0.1, "model": "m",
            "instructions_from": "QEMU", "worst_error": 0.034, **changes}  # fmt: skip


def document(**changes) -> dict:
    return {"time": {"estimate": estimate(**changes), "why": None, "measured": None}, "model": {"steps": 16}}


def test_rows_and_their_sums():
    rows = {r[0]: r[1:] for r in time_rows(estimate())}
    assert rows["token mixing"] == ("20 k", "64 B", "128 B", "2 k", "75.0 %", "3 s")
    assert rows["heads"][-2:] == ("< 0.1 %", "1 ms")
    assert rows["waits for flash"] == ("", "", "", "", "25.0 %", "1 s")
    assert rows["all"] == ("20.01 k", "128 B", "256 B", "2.001 k", "100 %", "4 s")
    assert "waits for flash" not in {r[0] for r in time_rows(estimate(waits=0))}


def test_bars_are_shares_of_the_widest_and_never_vanish():
    widths = {b.name: b.width for b in time_bars(document())}
    assert widths["token mixing"] == pytest.approx(100) and widths["waits for flash"] == pytest.approx(100 * 1000 / 2999)
    assert widths["heads"] == 0.3, "what is there is seen"
    widest = {b.name: b for b in time_bars(document(waits=3500))}
    assert widest["waits for flash"].text == "3.5 s, 87.5 %" and widest["waits for flash"].width == pytest.approx(100)
    assert widest["token mixing"].width < 86


def test_a_puzzle_takes_all_its_steps_and_measurements_say_how_far_off_the_estimate_is():
    facts = dict(time_facts(document()))
    assert facts["estimated time"].startswith("4 s a step at 0.001 MHz, 64 s a puzzle of 16 steps")
    assert facts["its constants"] == "QEMU; their counts within 3.4 %"
    made = document()
    for counted, off in ((2001, "+0.0"), (4002, "-50.0"), (1000, "+100.1")):
        made["time"]["measured"] = {"board": "b", "instructions": counted, "seconds": None}
        assert f"the estimate is {off} % off" in dict(time_facts(made))["counted"]
