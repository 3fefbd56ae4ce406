"""PyYAML's safe loader without what makes a small file large, or its meaning a choice."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from recurc.reading import DEPTH, DIGITS, shown

_TOO_DEEP = f"lists and tables are nested deeper than {DEPTH}"
_CORE = "tag:yaml.org,2002:"
_TAGS = {_CORE + name for name in ("str", "int", "float", "bool", "null", "seq", "map")}
_WORDS = (  # implicit kinds, and the first characters by which PyYAML looks them up
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9]\d*)", "-+0123456789"),
    ("float", r"[-+]?(?:(?:0|[1-9]\d*)\.\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:0|[1-9]\d*)[eE][-+]?\d+"
              r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+0123456789."),
)  # fmt: skip


class PlainLoader(yaml.SafeLoader):
    """One document of plain values; see `recurc.formats.parse_yaml`."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Refuses depth already here: PyYAML reads on for a thousand characters, in time that grows with the square of it."""
        if self.flow_level >= DEPTH:
            raise _refused(_TOO_DEEP, yaml.Token(self.get_mark(), None))
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call] # types-PyYAML gives it no types
        if isinstance(event, yaml.AliasEvent):
            raise _refused(f"an alias (*{event.anchor}) stands for a value given elsewhere: write the value itself", event)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", *_TAGS):
            raise _refused(f"the tag {shown(tag)} is not read here", event)
        self._depth += 1
        if self._depth > DEPTH:
            raise _refused(_TOO_DEEP, event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _refused("a table is expected", node)
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused("a key is a list or a table", key_node)
            if key_node.value == "<<" and key_node.style is None:
                raise _refused("a merge key (<<) is not read here: write the values themselves", key_node)
            key = key_node.value
            if key in found:
                raise _refused(f"the key {shown(key)} is given twice", key_node)
            found[key] = self.construct_object(value_node, deep=deep)
        return found


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


def _integer(loader: PlainLoader, node: Any) -> int:
    text = loader.construct_scalar(node)
    if not re.fullmatch(r"[-+]?\d+", text) or len(text.lstrip("+-")) > DIGITS:
        raise _refused(f"{shown(text)} is not a whole number of at most {DIGITS} digits", node)
    return int(text)


def _float(loader: PlainLoader, node: Any) -> float:
    text = loader.construct_scalar(node)
    special = re.fullmatch(r"([-+]?)\.(inf|nan)", text.lower())
    try:
        return float(special[1] + special[2] if special else text)
    except ValueError:
        raise _refused(f"{shown(text)} is not a number", node) from None


def _boolean(loader: PlainLoader, node: Any) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):
        raise _refused(f"{shown(text)} is neither true nor false", node)
    return text == "true"


for _name, _pattern, _first in _WORDS:
    PlainLoader.add_implicit_resolver(_CORE + _name, re.compile(rf"^(?:{_pattern})$"), list(_first))
PlainLoader.add_constructor(_CORE + "int", _integer)
PlainLoader.add_constructor(_CORE + "float", _float)
PlainLoader.add_constructor(_CORE + "bool", _boolean)
