"""JSON, YAML and TOML as settings use them. What a document can claim in few bytes - depth, repetition, numbers of any length -
is refused, and so is what a reader would have to choose: a key given twice, a merge, a tag.

Raises `Unreadable` throughout, which says the line where it is known.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Any, NoReturn

from recurc.errors import printable
from recurc.reading import DEPTH, DIGITS, TEXT_LIMIT, Unreadable, clause, shown

YAML_LIMIT = 1 << 16  # bytes: its reader takes a second for 30 kB
_KEY_PARTS = 16  # of a dotted TOML key: reading one takes the cube of it
# Each expression takes a text that never ends as one token, to the end: else its search begins again at each quote in it.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]|-?\d[\d.eE+-]*+', re.DOTALL)
_TOML_WORD = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\[^\n])*+"|'[^'\n]*+')"""
_TOML_DOT = r"[ \t]*+\.[ \t]*+"
_TOML_TOKEN = re.compile(
    rf"""#[^\n]*+|\"{{3}}(?:[^"\\]|\\.|"(?!""))*+"{{0,5}}+|'{{3}}(?:[^']|'(?!''))*+'{{0,5}}+"""
    rf"""|(?P<long>{_TOML_WORD}(?:{_TOML_DOT}{_TOML_WORD}){{{_KEY_PARTS}}})|{_TOML_WORD}(?:{_TOML_DOT}{_TOML_WORD})*+|["'][^\n]*+""",
    re.DOTALL,
)


def parse_json(text: str, limit: int = TEXT_LIMIT, infinite: bool = False) -> Any:
    """A JSON document: finite numbers, whole ones of 64 bits, every key once.

    Args:
        limit: characters it may have.
        infinite: take Infinity and -Infinity too, which Python writes and JSON does not know.

    Raises:
        Unreadable: it is none.
    """
    _check_length(text, limit)
    _check_json_depth(text)
    try:
        constant = _infinite if infinite else _no_constant
        return json.loads(text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise Unreadable(f"line {error.lineno}, column {error.colno}: {printable(error.msg, 200)}") from None
    except _Number as error:
        raise Unreadable(f"line {_line_of_number(text, error.text)}: {error}") from None
    except RecursionError:
        raise Unreadable("its lists and tables are nested too deep") from None


class _Number(Unreadable):
    """A number that is refused, with its text in the document."""

    def __init__(self, text: str, why: str) -> None:
        self.text = text
        super().__init__(f"{printable(text, 40)} {why}")


def _check_length(text: str, limit: int) -> None:
    if len(text) > limit:
        raise Unreadable(f"it has more than {limit:,} characters")


def _check_json_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= DEPTH:
        return
    depth = 0
    for token in _JSON_TOKEN.finditer(text):
        c = text[token.start()]
        if c in "[{":
            depth += 1
            if depth > DEPTH:
                line = text.count("\n", 0, token.start()) + 1
                raise Unreadable(f"line {line}: its lists and tables are nested deeper than {DEPTH}")
        elif c in "]}":
            depth -= 1


def _line_of_number(text: str, number: str) -> int:
    at = next((t.start() for t in _JSON_TOKEN.finditer(text) if t.group() == number), text.find(number))
    return text.count("\n", 0, max(at, 0)) + 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Unreadable(f"the key {shown(key)} is given twice")
            seen.add(key)
    return found


def _whole(text: str) -> int:
    if len(text.lstrip("+-")) > DIGITS:
        raise _Number(text, f"has more than {DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Number(text, "is beyond the range of numbers")
    return number


def _no_constant(text: str) -> NoReturn:
    raise _Number(text, "is no number of JSON")


def _infinite(text: str) -> float:
    return float(text) if text != "NaN" else _no_constant(text)


def parse_toml(text: str, limit: int = TEXT_LIMIT) -> dict[str, Any]:
    """A TOML document: integers of 64 bits, keys of at most 16 parts.

    Raises:
        Unreadable: it is none.
    """
    _check_length(text, limit)
    _check_toml_keys(text)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise Unreadable("its lists and tables are nested too deep") from None
    except ValueError as error:  # TOMLDecodeError, and Python's own for a number of thousands of digits
        raise Unreadable(clause(error)) from None
    _check_toml(document)
    return document


def _check_toml_keys(text: str) -> None:
    if all(line.count(".") < _KEY_PARTS for line in text.split("\n")):  # a key lies on one line
        return
    for token in _TOML_TOKEN.finditer(text):
        if token["long"]:
            line = text.count("\n", 0, token.start()) + 1
            raise Unreadable(f"line {line}: a key has more than {_KEY_PARTS} parts")


def _check_toml(document: dict[str, Any]) -> None:
    todo: list[tuple[Any, int]] = [(document, 0)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, (dict, list)):
            if depth > DEPTH:
                raise Unreadable(f"its lists and tables are nested deeper than {DEPTH}")
            todo += [(inner, depth + 1) for inner in (value.values() if isinstance(value, dict) else value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Unreadable(f"{shown(value)} is not a number of 64 bits")


def parse_yaml(text: str) -> Any:
    """A YAML document of plain values: text, whole and other numbers, true and false, null, lists, tables with text as keys.

    Aliases, merge keys, tags and several documents are refused. Words that YAML's versions read differently stay text: yes, on,
    1:30, 010, 1_000, dates.

    Raises:
        Unreadable: it is none.
    """
    import yaml

    from recurc.plainyaml import PlainLoader

    if len(text) > YAML_LIMIT:
        raise Unreadable(f"it has more than {YAML_LIMIT:,} characters")
    try:
        loader = PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Unreadable(place + printable(error.problem or error.context or "it is not YAML", 200)) from None
    except yaml.YAMLError as error:  # a character that no YAML file holds
        raise Unreadable(clause(error)) from None
    except RecursionError:
        raise Unreadable("its lists and tables are nested too deep") from None
