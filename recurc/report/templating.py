"""Jinja over the templates of pages."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recurc.resources import resource_dir


def environment() -> Environment:
    """Templates of templates/report; everything that is filled in is escaped, and a name that is missing is an error."""
    return Environment(loader=FileSystemLoader(resource_dir("templates") / "report"), undefined=StrictUndefined,
                       autoescape=True, trim_blocks=True, lstrip_blocks=True)
