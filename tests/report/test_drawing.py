"""Geometry: to scale, nothing lost, nothing overlapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurc.report.drawing import blocks_of, hide_class, overview, region_bar, short_name, widths
from recurc.report.lifetimes import lifetime_chart
from tests.report.samples import config, document, sized


@pytest.fixture(scope="module")
def plan():
    return {r["name"]: r for r in document(board=sized("stm32h7", flash=4 << 20))["regions"]}


def region(size: int, *pieces: tuple[str, str, int, int], base: int = 0x1000) -> dict:
    """A region with pieces (name, kind, offset, bytes)."""
    found = [{"name": n, "kind": k, "address": base + at, "offset": at, "bytes": b, "lifetime": ""} for n, k, at, b in pieces]
    used = max((p["offset"] + p["bytes"] for p in found), default=0)
    return {
        "name": "r",
        "kind": "ram",
        "base": base,
        "size": size,
        "used": used,
        "free": size - used,
        "pieces": found,
        "parts": {k: b for _, k, _, b in pieces},
        "optional": False,
    }


@given(st.lists(st.integers(0, 1 << 30), min_size=1, max_size=200))
def test_widths_fill_the_bar_and_show_everything(sizes):
    shares = widths(sizes)
    assert sum(shares) == pytest.approx(100)
    assert len(shares) == len(sizes) and min(shares) >= min(0.5, 50 / len(sizes)) - 1e-9
    assert all(a <= b + 1e-9 for (s, a), (t, b) in zip(sorted(zip(sizes, shares)), sorted(zip(sizes, shares))[1:]) if s < t)


def test_large_widths_are_to_scale():
    assert widths([100, 300]) == [25, 75]
    small, large, larger = widths([1, 100_000, 300_000])
    assert small == 0.5 and larger / large == pytest.approx(3)


@pytest.mark.parametrize("name", ["flash", "dtcm", "axisram"])
def test_a_bar_holds_every_byte_in_order(plan, name):
    bar, r = region_bar(plan[name]), plan[name]
    assert [s.x for s in bar.spans] == sorted(s.x for s in bar.spans)
    for a, b in zip(bar.spans, bar.spans[1:]):
        assert a.x + a.width == pytest.approx(b.x)
    assert bar.spans[-1].x + bar.spans[-1].width == pytest.approx(100)
    drawn = [p["name"] for block in blocks_of(r) for p in block.pieces]
    assert set(drawn) == {p["name"] for p in r["pieces"]}
    assert bar.spans[-1].kind is None and bar.spans[-1].detail == f"{r['free']:,}" and bar.limit is None


def test_free_memory_is_cut_only_where_it_hides_the_rest():
    assert region_bar(region(1000, ("a", "code", 0, 300))).cut
    bar = region_bar(region(1000, ("a", "code", 0, 500)))
    assert not bar.cut and [s.width for s in bar.spans] == [50, 50]


def test_free_memory_between_pieces_is_drawn_and_alignment_is_not():
    kinds = [s.kind for s in region_bar(region(10_000, ("a", "code", 0, 3000), ("b", "stack", 8000, 2000))).spans]
    assert kinds == ["code", None, "stack"]
    kinds = [s.kind for s in region_bar(region(5_000, ("a", "code", 0, 2990), ("b", "stack", 3000, 2000))).spans]
    assert kinds == ["code", "stack"]


def test_what_does_not_fit_lies_beyond_the_limit():
    bar = region_bar(region(1000, ("a", "code", 0, 500), ("b", "image", 500, 1500)))
    assert bar.limit == pytest.approx(50) and [s.kind for s in bar.spans] == ["code", "image"]
    (line,) = overview([region(1000, ("a", "code", 0, 2000))])
    assert line.over and sum(s.width for s in line.spans) == pytest.approx(100)


def test_buffers_that_share_memory_are_one_block():
    a, b = blocks_of(
        region(1000, ("x", "scratch", 0, 100), ("y", "scratch", 0, 300), ("z", "scratch", 200, 200), ("s", "stack", 400, 50))
    )
    assert (a.end - a.start, len(a.pieces), a.name) == (400, 3, "scratch") and b.name == "s"


def test_shared_memory_is_drawn_as_the_kind_that_the_sums_count():
    plan = document(config("attention", seq_len=900), board="mps2-an386", precision="int8", carry="int8")
    for r in plan["regions"]:
        drawn: dict[str, int] = {}
        for block in blocks_of(r):
            drawn[block.kind] = drawn.get(block.kind, 0) + block.end - block.start
        assert drawn == {kind: size for kind, size in r["parts"].items() if kind != "padding"}


def test_an_empty_region_is_all_free():
    bar = region_bar(region(1000))
    assert [(s.kind, s.width) for s in bar.spans] == [(None, 100)] and not bar.cut


def test_ticks_do_not_touch(plan):
    for r in plan.values():
        ticks = sorted(region_bar(r).ticks, key=lambda t: t.x)
        assert ticks[0].text == f"0x{r['base']:08x}" and ticks[-1].text == f"0x{r['base'] + r['size']:08x}"
        # Ten characters of 6.4 pixels, centred, in bars of at least 260, 405, 680 and 1000 pixels.
        for pixels, hidden in ((270, "w1 w2 w3"), (405, "w2 w3"), (680, "w3"), (1000, "")):
            shown = [t for t in ticks if not t.hide or t.hide not in hidden]
            left = {"start": 0.0, "middle": 32.0, "end": 64.0}
            edges = [(t.x * pixels / 100 - left[t.anchor], t.x * pixels / 100 - left[t.anchor] + 64) for t in shown]
            assert all(a[1] <= b[0] for a, b in zip(edges, edges[1:])), (r["name"], pixels)


def test_labels_show_where_they_fit():
    assert hide_class("code", "", 100) == "" and hide_class("x" * 500, "", 100) == "never"
    assert hide_class("gate_up_proj", "1,572,864", 10) == "w3" and hide_class("gate_up_proj", "", 25) == "w1"
    assert short_name("L_level.layers.0.mlp.gate_up_proj.weight:weights") == "gate_up_proj"
    assert short_name("code") == "code" and short_name(":") == ":"


def test_regions_to_one_scale():
    lines = overview([region(1 << 20), region(1 << 18)])
    assert [line.width for line in lines] == [100, 25] and not any(line.cut for line in lines)
    lines = overview([region(1 << 30), region(1 << 15), region(1 << 20)])
    assert [line.cut for line in lines] == [True, False, False] and lines[0].width == 100 and lines[2].width == 80


def test_lifetimes_have_a_line_an_operation(plan):
    chart = lifetime_chart(plan["axisram"])
    assert [phase.name for phase in chart.phases] == ["token_mix_0", "channel_mix_1", "heads"]
    always = {p["name"]: p["bytes"] for p in plan["axisram"]["pieces"] if "." not in p["name"]}
    for phase in chart.phases:
        own = sum(p["bytes"] for p in plan["axisram"]["pieces"] if p["name"].startswith(phase.name + "."))
        assert phase.bytes == sum(always.values()) + own and own > 0
        ends = [s.x + s.width for s in phase.spans]
        assert all(end <= s.x + 0.3 for end, s in zip(ends, phase.spans[1:])), "live buffers never share memory"
        assert max(ends) <= 100.3
    assert max(s.x + s.width for phase in chart.phases for s in phase.spans) == pytest.approx(100, abs=0.3)
    assert lifetime_chart(plan["flash"]) is None and lifetime_chart(plan["dtcm"]) is None


def test_operations_of_attention_come_in_schedule_order():
    regions = document(config("attention", seq_len=64), board="mps2-an386")["regions"]
    chart = next(chart for r in regions if (chart := lifetime_chart(r)))
    assert [phase.name for phase in chart.phases] == ["attention_0", "channel_mix_1", "heads"]
