"""Configurations in the metadata of safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recurc.formats import parse_json
from recurc.models.arch_fields import MODEL_FIELDS, nearest_field
from recurc.models.config_files import Source, flat_source
from recurc.models.layouts import Layout, translated
from recurc.reading import Unreadable, shown


def metadata_sources(
    metadata: Mapping[str, object], file: Path, layout: Layout | None = None
) -> tuple[list[Source], list[str]]:
    """(the configurations in the metadata of a safetensors file, notes on them): flat, or each the JSON text of a key."""
    flat: dict[str, object] = {}
    sources, notes = [], []
    for key, value in metadata.items():
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = parse_json(value)
            except Unreadable as error:
                notes.append(f"{file}: {shown(key)} of its metadata is not used, as it is no JSON ({error})")
                continue
        if not isinstance(value, Mapping):
            if key != "format":  # of the tensors: "pt"
                flat[key] = value
        elif (source := flat_source(translated(layout, value, str(file)), f"{file}[{key}]")).says_something:
            sources.append(source)
    flat = translated(layout, flat, str(file))
    if any(name in MODEL_FIELDS or nearest_field(name, 0.82) for name in flat):
        sources.insert(0, flat_source(flat, f"{file}[metadata]"))
    notes += [f"the configuration in the file's metadata is read: {s.where}" for s in sources if s.says_something]
    return sources, notes
