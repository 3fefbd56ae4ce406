"""The README's table of what survives says what the studies in docs say."""

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = {"": "study.csv", ", copy": "study-outliers.csv"}


def measured(column: str) -> dict[str, str]:
    """Method -> puzzles exact in percent, from the CSV behind a column `NAME` or `NAME, copy`."""
    name, comma, copy = column.partition(", ")
    path = ROOT / "docs/study" / name / FILES[comma + copy]
    with open(path, newline="") as file:
        return {row["name"]: f"{100 * float(row['exact']):.1f}" for row in csv.DictReader(file)}


def table() -> list[list[str]]:
    """Rows of the table that begins with `method` and names models, as cells."""
    lines = re.search(r"^\| method, puzzles exact .*\n(?:\|.*\n)+", README, re.M)
    assert lines is not None
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.group(0).splitlines()]


def test_the_studies_table():
    head, _, *rows = table()
    columns = [measured(column) for column in head[1:]]
    assert len(rows) >= 10 and len(columns) == 8
    for method, *cells in rows:
        assert cells == [column.get(method, "") for column in columns], method


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: str(p.relative_to(ROOT / "docs")))
def test_links_of_the_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: str(p.relative_to(ROOT / "docs")))
def test_pages_name_no_path_of_the_computer_that_wrote_them(page):
    assert not re.search(r"[\\s`(]/(home|tmp|root|work|Users)/", page.read_text(encoding="utf-8"))


def test_every_page_is_listed():
    text = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([^)#]+\.md)", text))
    assert listed >= {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*/*.md")}
