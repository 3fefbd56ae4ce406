"""Tables of board files at their limits: types, ranges, words, watchdog and USB identities."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurc.errors import InputError
from recurc.targets.tomltable import ADDRESS_LIMIT, Table
from recurc.targets.usb import read_usb
from recurc.targets.watchdog import read_watchdog


def table(**data) -> Table:
    return Table(data, "board", Path("b.toml"))


def refused(call, *words: str) -> None:
    with pytest.raises(InputError, match="board file is invalid") as e:
        call()
    assert e.value.exit_code == 3 and e.value.where == "b.toml"
    for word in words:
        assert word in str(e.value), str(e.value)


@pytest.mark.parametrize("value", [True, 1.0, "1", [1], {}])
def test_a_number_is_a_whole_number_and_no_truth(value):
    refused(lambda: table(n=value).number("n"), "'n' must be of type int")


def test_numbers_at_the_ends_of_their_range():
    for value in (0, ADDRESS_LIMIT):
        assert table(n=value).number("n") == value
    for value in (-1, ADDRESS_LIMIT + 1):
        refused(lambda value=value: table(n=value).number("n"), f"n = {value} is outside")
    assert table(n=3).number("n", low=3, high=3) == 3
    for value in (2, 4):
        refused(lambda value=value: table(n=value).number("n", low=3, high=3))
    assert table().number("n", None) is None


def test_other_types():
    assert table(x=1).get("x", float) == 1.0 and table(b=False).get("b", bool) is False
    refused(lambda: table(x=True).get("x", float))
    refused(lambda: table(b=1).get("b", bool))
    refused(lambda: table(w=["a", 1]).words("w"), "list of strings")
    assert table(w=["a", "b"]).words("w") == ("a", "b")
    refused(lambda: table(t="c").text("t", one_of=("a", "b")), "not one of a, b")


def test_every_key_is_asked_for_or_told_with_what_is_near():
    t = table(name="x", tilte="y")
    assert t.text("name") == "x" and t.text("title", "") == ""
    refused(t.close, "unknown key 'tilte'", "title")
    refused(lambda: table(tilte="y").text("title"), "'title' is missing", "'tilte'")


@pytest.mark.parametrize("seconds", [1, 86_400])
def test_a_watchdog_in_its_range(seconds):
    assert read_watchdog(table(watchdog={"kind": "arm", "seconds": seconds})).defines == {"RC_WATCHDOG_MS": 1000 * seconds}


def test_watchdogs_that_are_none():
    """With 0 the firmware would report a hang at once, and for a time that C cannot hold never."""
    assert read_watchdog(table()) is None
    for seconds in (0, -1, 86_401):
        refused(lambda n=seconds: read_watchdog(table(watchdog={"kind": "arm", "seconds": n})), "seconds")
    refused(lambda: read_watchdog(table(watchdog={"kind": "arm"})), "'seconds' is missing")
    refused(lambda: read_watchdog(table(watchdog={"kind": "arm", "seconds": 1, "x": 1})), "unknown key 'x'")


def test_usb_identities():
    good = ["0483:374b", "0483:*"]
    assert read_usb(table(usb=good)) == tuple(good) and read_usb(table()) == ()
    for bad in ("483:374b", "0483:374B", "0483", ":374b", "0483:", "*:374b", "0483:374b ", "04833:374b"):
        refused(lambda bad=bad: read_usb(table(usb=[bad])), "no USB identity")
    refused(lambda: read_usb(table(usb=["0483:374b\n"])), "control character")
