"""Text in generated files: quoted for the language that it ends in, by one writer for each.

Names of models, boards and folders come from outside; in a generated file they must stay names. So the templates' environment
takes a text only when a filter of here has quoted it for its language (`{{ name | c_string }}`), or when it is plain enough to
mean nothing else there. What is neither stops the rendering: a template's author cannot forget. In HTML everything is escaped.
"""

from __future__ import annotations

import errno
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from recurc.errors import InputError
from recurc.resources import resource_dir
from recurc.text import one_line, visible

# -- writers ----------------------------------------------------------------------------------------------------------


def c_string(text: object) -> Markup:
    """A C string literal. What is not ASCII is written as octal escapes of UTF-8; question marks cannot form trigraphs."""
    shown = one_line(text).encode("utf-8", "backslashreplace")
    quoted = re.sub(rb'["\\?]', lambda m: b"\\" + m[0], shown)
    return Markup('"' + "".join(chr(b) if b < 128 else f"\\{b:03o}" for b in quoted) + '"')


def c_comment(text: object) -> Markup:
    """Text inside /* */: it ends no comment and begins none; a backslash cannot join lines."""
    return Markup(re.sub(r"/(?=\*)|\*(?=/)", lambda m: m[0] + " ", one_line(text)).replace("\\", "/"))


def line_comment(text: object) -> Markup:
    """Text after #, ; or //: it stays on its line, and a backslash cannot take the next line into the comment."""
    return Markup(one_line(text).replace("\\", "/"))


def ini_value(text: object) -> Markup:
    """A value of platformio.ini.

    Raises:
        ValueError: PlatformIO has no way to write it: it would be expanded, cut off, or run.
    """
    found = str(text)
    if not re.fullmatch(r"[A-Za-z0-9_./@^~:+=, -]*", found) or found != found.strip():
        raise ValueError(f"{one_line(found)!r} cannot stand in platformio.ini")
    return Markup(found)


def cmake_string(text: object) -> Markup:
    """A quoted argument of CMake: nothing in it is expanded, nothing splits it."""
    return Markup('"' + re.sub(r'(["\\$@;])', r"\\\1", one_line(text)) + '"')


def github_text(text: object) -> str:
    """Text in a workflow of GitHub Actions, before it is quoted as YAML: what looks like an expression is none."""
    return one_line(text).replace("${{", "${{ '${{' }}")


def yaml_string(text: object) -> Markup:
    """A double-quoted YAML scalar for a workflow of GitHub Actions, expressions made harmless."""
    found = yaml.safe_dump(github_text(text), default_style='"', width=1 << 30, allow_unicode=False)
    return Markup(found.removesuffix("\n"))


def json_string(text: object) -> Markup:
    """A JSON string in ASCII, with its quotes."""
    return Markup(json.dumps(one_line(text)))


def property_value(text: object) -> Markup:
    """A value of Arduino's library.properties: it stays on its line, and no backslash joins the next one to it."""
    return Markup(one_line(text).replace("\\", "/"))


def xml_text(text: object) -> Markup:
    """Text of an XML element, or of an attribute in quotes."""
    found = str(escape(one_line(text)))
    return Markup(re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", found))


def shell_word(text: object) -> Markup:
    """One word of a POSIX shell."""
    return Markup(shlex.quote(one_line(text)))


def python_string(text: object) -> Markup:
    """A Python string literal in ASCII."""
    return Markup(ascii(str(text)))


def robot_text(text: object) -> Markup:
    """A cell of Robot Framework: no variable, no comment, no cell boundary."""
    found = re.sub(r"([\\$@&%#|=])", r"\\\1", one_line(text))
    return Markup(re.sub(r"(?<= ) |^ | $", r"\\ ", found))


def renode_string(text: object) -> Markup:
    """A quoted string of Renode's scripts: variables are not expanded in it."""
    return Markup('"' + re.sub(r'(["\\$`])', r"\\\1", one_line(text)) + '"')


def markdown(text: object) -> Markup:
    """Text in Markdown, shown as it is: no HTML, no link, no emphasis, no cell boundary. What is Markdown already stays."""
    if isinstance(text, Markup):
        return text
    found = str(escape(one_line(text))).replace("&#39;", "'").replace("&#34;", '"')
    found = re.sub(r"([\\`*\[\]|~!$])", r"\\\1", found)
    found = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", found)
    return Markup(re.sub(r"^(\s*)([#+=-]|\d+[.)])", r"\1\\\2", found))


def markdown_code(text: object) -> Markup:
    """A code span of Markdown, in a table's cell too."""
    found = one_line(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", found)), default=0) + 1)
    pad = " " if found.startswith("`") or found.endswith("`") or not found else ""
    return Markup(f"{fence}{pad}{found}{pad}{fence}")


def markdown_prose(text: object) -> str:
    """Our own Markdown with names in it: marks stay, HTML and links do not come from the names."""
    found = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^( *)#", r"\1\\#", re.sub(r"([\[\]\\])", r"\\\1", found))


FILTERS = (
    c_string,
    c_comment,
    line_comment,
    ini_value,
    cmake_string,
    yaml_string,
    json_string,
    property_value,
    xml_text,
    shell_word,
    python_string,
    robot_text,
    renode_string,
    markdown,
    markdown_code,
)

# -- the environment --------------------------------------------------------------------------------------------------

# Language by the end of a template's name -> what may stand in it without a filter: it means the same everywhere there.
_PLAIN = re.compile(r"[A-Za-z0-9 ,._/@^~()+:%-]*")
_C = re.compile(r"(?:(?!/\*|\*/|//|\?\?)[ !#-&(-\[\]-~])*")  # printable ASCII without quotes and backslash, no comment
_LANGUAGES = {
    "c": _C,
    "h": _C,
    "S": re.compile(r"[A-Za-z0-9 ._-]*"),
    "ld": re.compile(r"[A-Za-z0-9 ._-]*"),
    "yml": re.compile(r"[A-Za-z0-9._-]*( [A-Za-z0-9._-]+)*"),
    "ini": re.compile(r"[A-Za-z0-9 ,._/@^~:+=-]*"),
    "txt": re.compile(r"[A-Za-z0-9 ._/+=-]*"),
    "defaults": re.compile(r"[A-Za-z0-9_=. -]*"),
    "csv": _PLAIN,
    "json": _PLAIN,
    "ino": _PLAIN,
    "pdsc": _PLAIN,
    "properties": _PLAIN,
    "Kconfig": re.compile(r"[A-Za-z0-9 ._-]*"),
    "py": _PLAIN,
    "md": re.compile(r"[A-Za-z0-9 ,./@^():+%-]*"),
    "repl": _PLAIN,
    "resc": _PLAIN,
    "robot": re.compile(r"[A-Za-z0-9._/ +-]*"),
}
_PAGES = ("html", "css")


class UnquotedError(ValueError):
    """A template fills in a text that is not quoted for its language: a mistake in the template."""


def _language(template: str | None) -> str:
    return (template or "").removesuffix(".j2").rsplit("/", 1)[-1].rsplit(".", 1)[-1]


@jinja2.pass_context
def _finalize(context: jinja2.runtime.Context, value: Any) -> Any:
    """What a template writes for an expression: numbers, what filters and macros made, and text that is plain."""
    if isinstance(value, Markup) or value is None or isinstance(value, (int, float)):
        return value
    language = _language(context.name)
    if language in _PAGES:
        return escape(visible(value))
    text = str(value)
    if language not in _LANGUAGES:
        raise UnquotedError(f"{context.name}: nothing is known of this language")
    if not _LANGUAGES[language].fullmatch(text):
        raise UnquotedError(f"{context.name}: {one_line(text)[:100]!r} is filled in without a filter")
    return Markup(text)


class _Templates(jinja2.FileSystemLoader):
    """Templates of this installation: one that cannot be read is the system's to explain. Or those of an extension, searched
    first: one that is not there is missing in its folder."""

    def get_source(self, environment: jinja2.Environment, template: str) -> Any:
        try:
            return super().get_source(environment, template)
        except jinja2.TemplateNotFound:
            first = Path(self.searchpath[0])
            if not first.is_relative_to(resource_dir("templates")):
                raise InputError(
                    "a template of an extension is not there", where=str(first / template),
                    why="recurc has none of that name", next="Put it there; package-data in pyproject.toml installs it",
                ) from None  # fmt: skip
            raise FileNotFoundError(
                errno.ENOENT, "a part of this installation of recurc is not there", str(Path(self.searchpath[0]) / template)
            ) from None


def environment(folder: str = "", first: Path | None = None) -> jinja2.Environment:
    """Jinja over recurc's templates, those of one folder of them, or those of a folder anywhere, by its absolute path; a name
    that is missing is an error.

    Texts must be quoted for their language, see the top of this module; in pages they are escaped.

    Args:
        first: a folder of an extension that is searched before.
    """
    here = Path(resource_dir("templates")) / folder
    found = jinja2.Environment(
        loader=_Templates([here] if first is None else [first, here]), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=True, finalize=_finalize,
    )  # fmt: skip
    found.filters.update({f.__name__: f for f in FILTERS})
    return found
