"""A lying device gets a right result or an error of exit code 7 or 8, in bounded time: a sample of the campaign.

`python -m tests.device.lies` runs all of it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from recurc.device import frames as f
from tests.device import lies
from tests.tools import need


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    need("host")
    return {scene.name: scene for scene in lies.scenes(tmp_path_factory.mktemp("lies"))}


def test_the_campaign_covers_every_frame_and_field(scenes):
    named: set[tuple[str, str]] = set()
    for scene in scenes.values():
        for case in lies.cases(scene, 0):
            words = case.name.split()
            named.add((words[0], words[2]))
    heard = {frame.type for scene in scenes.values() for frame in scene.frames}
    assert set(f.LAYOUTS) - heard == {f.NAK, f.FAULT}  # those are told where they do not belong
    for kind, layout in f.LAYOUTS.items():
        if kind in heard:
            assert {(layout.name, field) for field, _ in layout.fields} <= named
    assert all(len(list(lies.cases(scene, 0))) > 2000 for scene in scenes.values())


@pytest.mark.parametrize("name", ["plain", "rows", "another device"])
def test_a_sample_of_lies(scenes, name):
    scene, found = scenes[name], set()
    for number, case in enumerate(lies.cases(scene, seed=1)):
        if number % 97 == 0:
            found.add(scene.judge(case))
    assert found == {"right", "exit 7", "exit 8"}


def half_the_steps(scene: lies.Scene) -> lies.Lie:
    return lies.always(f.RUN | f.REPLY, lambda frame: frame.body[:2] + b"\1\0" + frame.body[4:])


def a_carry_of_nan(scene: lies.Scene) -> lies.Lie:
    return lies.always(f.READ | f.REPLY, lambda frame: frame.body[:8] + b"\xff" * (len(frame.body) - 8))


def another_input(scene: lies.Scene) -> lies.Lie:
    row = scene.dataset.inputs[0].tobytes()
    at = max(i for i, frame in enumerate(scene.frames) if frame.type == f.READ | f.REPLY and frame.body[8:] == row)

    def turned(i: int, frame: f.Frame) -> bytes | None:
        of_input = i == at and frame.type == f.READ | f.REPLY  # only what is read after the proof
        return f.encode(replace(frame, body=frame.body[:8] + frame.body[:7:-1])) if of_input else None

    return turned


def more_rows(scene: lies.Scene) -> lies.Lie:
    return lies.always(f.HELLO | f.REPLY, lambda frame: frame.body[:60] + b"\xff\xff\xff\xff" + frame.body[64:])


def endless_steps(scene: lies.Scene) -> lies.Lie:
    layout = f.LAYOUTS[f.STEP]
    place = next(i for i, frame in enumerate(scene.frames) if frame.type == f.RUN | f.REPLY)
    zeros = {**dict.fromkeys(dict(layout.fields), 0), "q_bytes": bytes(8)}
    frames = (f.Frame(f.STEP, scene.frames[place].seq, layout.pack({**zeros, "step": n})) for n in range(1, 500))
    return lies.nth(place, lies.Flood(b"".join(map(f.encode, frames))))


CHOSEN = (lambda scene: lies.EarlyEnd(), half_the_steps, a_carry_of_nan, another_input, more_rows, endless_steps)


@pytest.mark.parametrize("what", CHOSEN)
def test_lies_that_once_were_believed_or_never_ended(scenes, what):
    scene = scenes["plain"]
    assert scene.judge(lies.Case("chosen", what(scene), must_fail=True)) in ("exit 7", "exit 8")
