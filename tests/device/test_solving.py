"""SOLVE over the wire with a device that contradicts itself, and with one that has forgotten."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.errors import MismatchError
from recurc.solve import Policy
from tests.device.inprocess import Clock, Line, build_server

ROW = np.arange(16) % 6
UNSURE = Policy(2, 2, 2, threshold=99.0)
VOTE = Policy(2, 2, 2, threshold=99.0, accept="vote")
ANSWER = f.LAYOUTS[f.SOLVE | f.REPLY]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_server(tmp_path_factory.mktemp("server"))


@pytest.fixture
def session(library, monkeypatch):
    with DeviceSession(Line(library, Clock().use(monkeypatch))) as opened:
        opened.load(ROW)
        yield opened


def lying(session, monkeypatch, **fields):
    """The session's device tells of its answer otherwise."""
    monkeypatch.setattr(f, "parse_solve", lambda body, true=f.parse_solve: true(ANSWER.pack({**ANSWER.unpack(body), **fields})))


@pytest.mark.parametrize(
    ("policy", "fields", "why"),
    [
        (UNSURE, {"solved": 1, "run": 0}, "went on to run 2"),
        (UNSURE, {"solved": 1, "run": 2}, "asked for more than 99"),
        (UNSURE, {"margin": float("nan")}, "its margin is nan"),
        (UNSURE, {"restarts": 1, "run": 1}, "says 1 restarts"),
        (UNSURE, {"run": 3}, "run 3, and 2 is the last"),
        (UNSURE, {"votes": 0}, "0 of 1 runs"),
        (UNSURE, {"votes": 4}, "4 of 1 runs"),
        (VOTE, {"run": 2, "votes": 2}, "2 of 3 votes"),
        (VOTE, {"solved": 1, "run": 2}, "1 of 3 votes"),
        (UNSURE, {"ticks": 1}, "ticks"),
    ],
)
def test_an_answer_that_the_policy_excludes_is_no_answer(session, monkeypatch, policy, fields, why):
    lying(session, monkeypatch, **fields)
    with pytest.raises(MismatchError, match=why):
        list(session.solve(policy, forms=2))


def test_one_run_agrees_with_nobody(session, monkeypatch):
    lying(session, monkeypatch, solved=1, restarts=0, run=0)
    policy = Policy(1, 2, 1, threshold=99.0, accept="agreement")
    with pytest.raises(MismatchError, match="restarts|agrees"):
        list(session.solve(policy, forms=2))


def test_a_run_is_no_longer_than_it_may_be(session, monkeypatch):
    monkeypatch.setattr(f, "parse_step", lambda body, true=f.parse_step: true(body[:30] + struct.pack("<H", 0)))
    with pytest.raises(MismatchError, match="run 0 has 3 steps of 2"):
        list(session.solve(UNSURE, forms=2))


def test_the_answer_is_held_against_its_checksum(session):
    *_, result = session.solve(UNSURE, forms=2)
    assert zlib.crc32(session.read_raw("answer")) == result.answer_crc
    session._answer_crc ^= 1
    with pytest.raises(MismatchError, match="its answer has CRC-32"):
        session.read_raw("answer")


def test_a_reset_between_answer_and_reading_it_is_noticed(session):
    """Nothing told of it: the READ is refused with RC_ERR_STATE, and whoever persists begins anew."""
    asked = []

    def job() -> bytes:
        asked.append(1)
        session.load(ROW)
        list(session.solve(UNSURE, forms=2))
        if len(asked) == 1:
            session.transport.start(boot_is_heard=False)
        return session.read_raw("answer")

    first = session.persist(job)
    assert len(asked) == 2 and first == session.read_raw("answer")
