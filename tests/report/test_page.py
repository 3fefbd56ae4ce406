"""The page: well-formed, self-contained, complete, and safe against any name."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from recurc.arguments import named_as_options
from recurc.build.manifest import load_build
from recurc.recursion import Depth
from recurc.report.document import report_build, report_plan
from recurc.report.page import render_page
from recurc.report.planning import plan_checkpoint
from recurc.report.regions import KINDS
from recurc.targets.boards import list_boards
from tests.report.samples import build_folder, config, document, sized

HOSTILE = '<script>alert("1")</script>&amp;]]>\'--><img src=x onerror=y>\x00\x1b[2J'


@pytest.fixture(scope="module")
def report():
    return document(board=sized("stm32h7", flash=4 << 20))


@pytest.fixture(scope="module")
def page(report):
    return render_page(report)


def text_of(page: str) -> str:
    return " ".join("".join(ET.fromstring(page).itertext()).split())


def test_it_is_well_formed_xml_and_html(page):
    assert page.lstrip().startswith("<!DOCTYPE html>")
    root = ET.fromstring(page)
    assert root.tag == "html" and [child.tag for child in root] == ["head", "body"]
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_tags.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []


def test_it_needs_nothing_else(page):
    assert not re.search(r"https?:|//[a-z]|@import|@font-face|<script|<link|<img|<iframe|src=|javascript:", page, re.I)
    assert set(re.findall(r"url\(([^)]*)\)", page)) == {"#hatch"}
    assert not re.search(r"\son[a-z]+=", page)


def test_modes_for_dark_print_and_narrow_windows(page):
    style = re.search(r"<style>(.*)</style>", page, re.S).group(1)
    for media in ("prefers-color-scheme: dark", "print", "max-width: 480px"):
        assert f"@media ({media})" in style or f"@media {media}" in style
    assert style.count("{") == style.count("}")
    assert 'name="viewport"' in page


def test_every_piece_and_number_is_there(page, report):
    root, text = ET.fromstring(page), text_of(page)
    titles = " ".join(t.text for t in root.iter("title") if t.text)
    rows = {tuple("".join(cell.itertext()) for cell in row) for row in root.iter("tr")}
    for r in report["regions"]:
        for p in r["pieces"]:
            assert (p["name"], p["kind"], f"0x{p['address']:08x}", f"{p['offset']:,}", f"{p['bytes']:,}", p["lifetime"]) in rows
            assert f"{p['name']} ({p['kind']}): {p['bytes']:,} bytes" in titles or p["kind"] == "scratch"
        if r["used"]:
            assert any(row[0] == r["name"] and row[2] == f"{r['used']:,}" for row in rows if len(row) == 6)
        for kind, size in r["parts"].items():
            assert f"{kind} {size:,}" in text
    for p in (p for r in report["regions"] for p in r["pieces"] if "." in p["name"] and p["kind"] == "scratch"):
        assert f"{p['name']} (scratch): {p['bytes']:,} bytes" in titles, "scratch is drawn over the schedule"


def test_every_kind_has_a_colour_and_a_meaning(page):
    used = set(re.findall(r'class="[^"]*\bk-([a-z]+)', page))
    assert used >= {"weights", "scales", "tables", "code", "carry", "scratch", "stack"}
    for kind in used | set(KINDS):
        assert re.search(rf"--{kind}: #[0-9a-f]{{6}};", page), kind
    for kind in used:
        assert f".k-{kind} {{" in page


def test_verdict_changes_and_the_limit_of_what_does_not_fit():
    with named_as_options():
        page = render_page(document(board=sized("stm32h7", qspi=64 << 10), precision="int8"))
    text = text_of(page)
    assert "does not fit: " in text and "bytes more in flash" in text and "--precision int4" in text
    assert 'class="limit"' in page and 'class="beyond"' in page and "bytes too many" in text
    fits = render_page(document(board=sized("stm32h7", flash=4 << 20)))
    assert 'class="limit"' not in fits and "Changes that would help" not in fits


def test_hostile_names_are_text():
    board = sized("stm32h7", flash=4 << 20)
    plan = plan_checkpoint(config(), board, "int4").summary
    first = plan["regions"][0]
    first["pieces"][0]["name"] = first["pieces"][0]["lifetime"] = first["pieces"][0]["kind"] = HOSTILE
    first["name"] = first["note"] = first["kind"] = HOSTILE
    first["parts"] = {HOSTILE: first["used"]}
    plan["verdict"]["changes"] = [{"change": HOSTILE, "options": [HOSTILE], "fits": True, "saves": 1}]
    page = render_page(
        report_plan(
            plan,
            board,
            dict.fromkeys(("name", "checkpoint", "sha256"), HOSTILE),
            precision=HOSTILE,
            carry=HOSTILE,
            depth=Depth(1, 1, 1),
        )
    )
    root = ET.fromstring(page)
    assert not list(root.iter("script")) and not list(root.iter("img"))
    assert '<script>alert("1")' in text_of(page) and "\x1b" not in page and "\x00" not in page


def test_page_of_a_build_and_of_the_host(tmp_path):
    build = load_build(build_folder(tmp_path))
    text = text_of(render_page(report_build(build)))
    assert "0.9876 after one step" in text and "planned = linked" in text and "Planned only" not in text
    assert "no memory map" in text_of(render_page(report_build(build, "host")))


def test_regions_without_addresses_are_drawn_from_their_sums(tmp_path):
    d = report_build(load_build(build_folder(tmp_path)))
    d["regions"] = [
        {
            "name": "flash",
            "kind": "flash",
            "base": None,
            "size": 1000,
            "used": 300,
            "free": 700,
            "share": 0.3,
            "parts": {"image": 200, "code": 100},
            "pieces": [],
            "optional": False,
            "note": "",
        }
    ]
    page = render_page(d)
    assert "image 200 + code 100 = 300" in text_of(page) and 'class="tick' not in page


@pytest.mark.parametrize("name", [b.name for b in list_boards() if b.family != "host"])
def test_a_page_for_every_board(name):
    d = document(board=name)
    text = text_of(render_page(d))
    for r in d["regions"]:
        assert r["name"] in text and sum(r["parts"].values()) == r["used"]
    assert ("does not fit" in text) != d["fits"]
