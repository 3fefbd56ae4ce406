"""JSON, YAML and TOML of settings: what costs more than it holds, or means two things, is refused with its line."""

from __future__ import annotations

import pytest

from recurc.errors import InputError, ToolchainError, printable
from recurc.formats import YAML_LIMIT, parse_json, parse_toml, parse_yaml
from recurc.reading import Unreadable, shown
from tests.hostile.laughs import LAUGHS


def refused(parse, text: str, *words: str) -> None:
    with pytest.raises(Unreadable) as e:
        parse(text)
    told = str(e.value)
    assert told.isprintable() and len(told) < 400
    for word in words:
        assert word in told, told


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"a": 1, "b": 2, "a": 3}', ("'a'", "twice")),
        ('{\n"a": 1e999}', ("line 2", "1e999", "beyond")),
        ('{"a": NaN}', ("NaN",)),
        ('{"a":\n\n-Infinity}', ("line 3", "-Infinity")),
        ('{"a": ' + "9" * 400 + "}", ("line 1", "more than 19 digits")),
        ('{"a": ' + "9" * 5000 + "}", ("more than 19 digits",)),
        ("[" * 100_000, ("line 1", "nested deeper than 64")),
        ('{"a":' * 1000 + "1" + "}" * 1000, ("nested deeper than 64",)),
        ('{"a": 1,\n "b" 2}', ("line 2, column 6",)),
        ("", ("line 1",)),
        ('"\x01"', ("line 1",)),
        ("[" + " " * (1 << 20) + "]", ("more than 1,048,576 characters",)),
    ],
)
def test_json(text, words):
    refused(parse_json, text, *words)


def test_plain_json_is_read_as_it_was():
    text = '{"a": [1, -2.5e3, true, null, "\\u00e9[{"], "b": {"c": 9223372036854775807}}'
    assert parse_json(text) == {"a": [1, -2500.0, True, None, "é[{"], "b": {"c": 2**63 - 1}}
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json("[Infinity, -Infinity]", infinite=True) == [float("inf"), float("-inf")]
    refused(lambda t: parse_json(t, infinite=True), "[NaN]", "NaN")
    refused(lambda t: parse_json(t, infinite=True), "[1e999]", "1e999")


@pytest.mark.parametrize(
    "text, words",
    [
        (LAUGHS, ("line 2", "alias (*a)")),
        ("a: &x\n  b: *x\n", ("line 2", "alias")),
        ("a: {x: 1}\nb: {<<: {y: 1}}", ("line 2", "merge key")),
        ("a: 1\nb: 2\na: 3\n", ("line 3", "'a'", "twice")),
        ("a: !!python/object/apply:os.system [id]", ("line 1", "tag", "not read here")),
        ("a: !mine 3", ("tag",)),
        ("a: !!timestamp 2024-01-01", ("tag",)),
        ("a: !!int 0x10", ("whole number",)),
        ("a: " + "9" * 400, ("line 1", "at most 19 digits")),
        ("? [1, 2]\n: x", ("a key is a list",)),
        ("[" * 500, ("nested deeper than 64",)),
        ("- " * 500 + "a", ("nested deeper than 64",)),
        ("a: [", ("line",)),
        ("a: b: c", ("line 1",)),
        ("--- 1\n--- 2\n", ("line 2",)),
        ("a: \x1b[2J", ("special characters",)),
        ("x" * (YAML_LIMIT + 1), ("more than 65,536",)),
    ],
)
def test_yaml(text, words):
    refused(parse_yaml, text, *words)


@pytest.mark.parametrize("text, value", [
    ("1:30", "1:30"), ("010", "010"), ("1_000", "1_000"), ("0x10", "0x10"), ("yes", "yes"), ("off", "off"),
    ("2024-01-01", "2024-01-01"), ("12", 12), ("-3", -3), ("1.5", 1.5), ("1.0e-05", 1e-5), ("1e3", 1000.0), ("true", True),
    ("False", False), ("~", None), ("null", None), ("'12'", "12"), ("-.inf", float("-inf")), ("a word", "a word"),
    ("[1, {b: c}]", [1, {"b": "c"}]), ("!!str 12", "12"),
])  # fmt: skip
def test_yaml_words_mean_one_thing_or_stay_text(text, value):
    assert parse_yaml(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    "text, words",
    [
        ("a = 1\na = 2\nb = 3\n", ("overwrite", "line 2")),
        ("a = " + "[" * 5000, ("nested too deep",)),
        ("a = " + "[" * 70 + "]" * 70, ("nested deeper than 64",)),
        ("a = " + "9" * 400, ("64 bits",)),
        ("a = " + "9" * 5000, ("digits",)),
        ("[" + "a." * 5000 + "a]", ("line 1", "16 parts")),
        ("x = 1\n" + "a." * 30 + "a = 1", ("line 2", "16 parts")),
        ("a = \nb = 1", ("line 1",)),
    ],
)
def test_toml(text, words):
    refused(parse_toml, text, *words)


@pytest.mark.parametrize("parse, text", [
    (parse_toml, "a." * 100_000 + "a = 1"), (parse_toml, "a" * 1_000_000), (parse_json, '"' + "\\" * 1_000_000),
    (parse_json, '{"a":' * 200_000), (parse_json, "-" * 1_000_000), (parse_yaml, "[" * 60_000), (parse_yaml, "? " * 30_000),
    (parse_yaml, "!" * 60_000), (parse_yaml, '"' + "\\x41" * 15_000), (parse_toml, ".".join(["'a'"] * 100_000)),
    (parse_json, '["' + '\\"' * 500_000), (parse_json, "[[]" * 40 + '"' + '\\"' * 500_000), (parse_json, '[1, "' * 200_000),
    (parse_toml, '"' + '\\"' * 500_000), (parse_toml, "a." * 10 + '"' + '\\"' * 500_000 + '"' + ".a" * 10),
    (parse_toml, '# ................\na = """' + '\\"' * 500_000),
    (parse_toml, "# ................\na = '''" + "''\n" * 300_000),
    (parse_toml, "'a' " * 250_000), (parse_toml, '"a" . ' * 15 + " " * 500_000), (parse_toml, ("a. " * 15 + "\n") * 20_000),
])  # fmt: skip
def test_no_text_of_the_longest_length_takes_for_ever(parse, text):
    """Readers that are worse than linear would take minutes for each of these."""
    with pytest.raises(Unreadable):
        parse(text)


@pytest.mark.parametrize("text", [
    'a = "' + '\\"' * 500_000 + '................"', "a = '1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18'",
    "# it's a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r\na = 1", 'a = """\na.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r\n\\"" """\n',
    "a = '''\na.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r'''''",
])  # fmt: skip
def test_dots_in_a_toml_text_are_no_key(text):
    assert list(parse_toml(text)) == ["a"]


@pytest.mark.parametrize("before", [
    'a = """x""""', "a = '''x'''''", 'a = """\n\\""""', "# it's\na = 1 #'", 'a = "\\\\"', "a = '\\'", 'a = [ """\n" """ ]',
    'a = """ \' """',
])  # fmt: skip
def test_no_text_hides_a_long_toml_key(before):
    """Where a text ends is found as TOML has it: what follows is looked at."""
    parse_toml(before)
    lines = before.count("\n") + 2
    refused(parse_toml, f"{before}\n{'a.' * 16}b = 'x'", f"line {lines}", "16 parts")
    if "#" not in before:
        one_line = f"t = {{{before}, {'a.' * 16}b = 1, c = '\"'}}"
        refused(parse_toml, one_line, f"line {lines - 1}", "16 parts")


def test_shown_is_short_and_builds_nothing():
    nested: list = []
    for _ in range(100_000):
        nested = [nested] * 9
    assert shown(nested) == "a list of 9"
    assert shown({"a": nested}) == "a table of 1" and shown(10**400).startswith("a whole number of")
    assert shown("\x1b[31m\n\u202e") == r"'\x1b[31m\n\u202e'" and len(shown("a" * 10**6)) <= 80 and shown("x") == "'x'"
    assert shown("\ud800\x85") == r"'\ud800\x85'" and shown(None) == "None" and shown(1.5) == "1.5"


def test_errors_have_no_control_characters_and_an_end():
    for c in "\0\n\r\t\x1b\x7f\x85\x9b\u2028\u202e\u200b\ud800":
        error = InputError(f"what{c}", where=f"/a/{c}b", why=f"why {c}", next=f"next {c}")
        assert c not in str(error) and printable(c) in str(error)
    long = InputError("w" * 10_000, where="/" + "x" * 5000, why="y" * 10**6, next="z" * 5000)
    assert len(str(long)) < 2000 and all(part in str(long) for part in ("www", "/xx", "yyy", "zzz"))
    assert long.as_dict()["where"] == "/" + "x" * 5000 and len(long.as_dict()["why"]) < 10_000
    assert "a\n  b" in str(ToolchainError("x", why="it said:\na\n  b\x1b[0m")), "a compiler's lines stay lines"
    assert "\x1b" not in str(ToolchainError("x", why="\x1b[0m"))
