"""Generated files keep their structure whatever names stand in them: C, build files, manifests, Markdown, HTML, Renode, XML."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import jinja2
import kconfiglib
import pytest
import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

import recurc
from recurc import quoting as q
from recurc.emit.code import emit_model
from recurc.emit.image import build_image
from recurc.errors import InputError
from recurc.make.renode import render_renode
from recurc.plan.kernels import kernel_set
from recurc.plan.layout import make_layout
from recurc.report.page import render_page
from recurc.report.results import Plot, Results, Table
from recurc.resources import resource_dir
from recurc.targets.boards import load_board
from recurc.targets.toolchain import C_FLAGS, find_compiler
from recurc.text import one_line
from recurc.verify.junit import junit_document
from tests.report.samples import document, sized
from tests.security.names import HOSTILE
from tests.tools import need

ALL = " ".join(name for name in HOSTILE if len(name) < 100)
TEMPLATES = resource_dir("templates")


def test_a_template_that_forgets_to_quote_does_not_render():
    """For every language of ours: text that means something there is taken from a filter only."""
    kinds = {p.name.removesuffix(".j2").rsplit(".", 1)[-1] for p in TEMPLATES.rglob("*.j2")} - {"html", "css"}
    assert kinds <= set(q._LANGUAGES) and len(kinds) >= 12
    for kind in kinds:
        env = q.environment()
        env.loader = jinja2.DictLoader({f"x.{kind}.j2": "{{ name }}{{ 7 }}{% macro m() %}<{{ name }}>{% endmacro %}{{ m() }}"})
        template = env.get_template(f"x.{kind}.j2")
        assert template.render(name="plain") == "plain7<plain>"
        for name in ('"', "\\", "\n", "\x1b", "*/", "`", "<b>"):
            if name in ("<b>", "`") and kind in ("c", "h"):
                continue
            with pytest.raises(q.UnquotedError):
                template.render(name=name)
            assert template.render(name=Markup(name)).startswith(name)
    env = q.environment()
    env.loader = jinja2.DictLoader({"x.zig.j2": "{{ name }}"})
    with pytest.raises(q.UnquotedError, match="language"):
        env.get_template("x.zig.j2").render(name="x")


# -- C ----------------------------------------------------------------------------------------------------------------


def test_c_strings_and_comments_are_what_was_meant(tmp_path):
    need("host")
    lines = [f"/* {q.c_comment(n)} */ puts({q.c_string(n)});" for n in HOSTILE]
    source = tmp_path / "x.c"
    source.write_text("#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n", encoding="utf-8")
    flags = [*C_FLAGS, "-Wcomment", "-Wtrigraphs"]
    subprocess.run([find_compiler("host"), *flags, str(source), "-o", str(tmp_path / "x")], check=True)
    said = subprocess.run([str(tmp_path / "x")], capture_output=True, check=True).stdout
    assert said.decode() == "".join(one_line(n) + "\n" for n in HOSTILE)


@pytest.fixture(scope="module")
def model():
    return recurc.load("sudoku4-tiny").quantize("int4", method="min-max").model


def test_a_models_c_compiles_whatever_its_name(model, tmp_path):
    need("host")
    kernels = kernel_set("portable")
    hostile = replace(model, name=ALL)
    texts = {}
    for m in (model, hostile):
        image = build_image(m, kernels)
        texts[m.name] = emit_model(m, image, kernels, make_layout(m.program, m.forms, kernels, 20_000))
    for name, text in texts[ALL].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert text.count("\n") == texts[model.name][name].count("\n")
    folders = [f"-I{tmp_path}", f"-I{resource_dir('runtime_c') / 'include'}"]
    subprocess.run([find_compiler("host"), *C_FLAGS, *folders, "-fsyntax-only", str(tmp_path / "model.c")], check=True)


# -- PlatformIO, CMake ------------------------------------------------------------------------------------------------


def ini(template: str, name: str) -> dict[str, dict[str, str]]:
    board = load_board("esp32-s3-n8r8")
    envs = [
        {
            "name": "b",
            "board": "b",
            "title": name,
            "emulator": True,
            "upload_port": "socket://127.0.0.1:1",
            "baud": 9600,
            "stock": load_board("stm32h7").platformio,
            "how": "",
            "reach": "",
            "hint": "",
            "apart": [],
        }
    ]
    text = (
        q.environment()
        .get_template(template)
        .render(
            version="1",
            name=name,
            precision="int4",
            envs=envs,
            board=replace(board, title=name),
            name_of="b",
            usb="-usb",
            stock=board.platformio,
            flash_mb=8,
        )
    )
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return {s: dict(parser[s]) for s in parser.sections()}


@pytest.mark.parametrize("template", ["platformio/platformio.ini.j2", "espidf/platformio.ini.j2"])
def test_platformio_has_the_same_keys_whatever_the_title(template):
    tame = ini(template, "tame")
    assert tame and all(ini(template, name) == tame for name in HOSTILE)


def test_what_platformio_cannot_say_is_not_written():
    for value in ("a\nbuild_flags = !cmd", "${sysenv.HOME}", "!cmd", "a ; b", " x", "https://x/y?z", "$PATH"):
        with pytest.raises(ValueError, match="platformio.ini"):
            q.ini_value(value)


def test_cmake_strings_expand_nothing():
    for name in HOSTILE:
        text = str(q.cmake_string(name))
        assert text[0] == text[-1] == '"' and "\n" not in text
        assert not re.search(r'(?<!\\)(?:\\\\)*["$;@]', text[1:-1]), text


# -- GitHub Actions ---------------------------------------------------------------------------------------------------


def workflow(**names: str) -> dict:
    given = {
        "version": "1",
        "build": "b",
        "data": "d",
        "emulated": "mps2-an500",
        "install": "recurc==1",
        "packages": ["git"],
        "minutes": 30,
        "torch": "torch>=2",
        **names,
    }
    return yaml.safe_load(q.environment().get_template("ci/workflow.yml.j2").render(**given))


def shape(value):
    """A document without its texts."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return [shape(v) for v in value] if isinstance(value, list) else type(value)


def test_a_workflow_has_the_same_structure_and_commands_whatever_the_names():
    tame = workflow()
    commands = [s.get("run") for s in tame["jobs"]["verify"]["steps"]]
    for name in HOSTILE:
        found = workflow(install=name, build=name, torch=name, data=name)
        assert shape(found) == shape(tame), name
        job = found["jobs"]["verify"]
        assert [s.get("run") for s in job["steps"]] == commands, "names do not reach the shell's text"
        assert job["env"]["RECURC"] == q.github_text(name)
        # GitHub evaluates ${{ }} in values: none comes from a name.
        assert set(re.findall(r"\$\{\{(.*?)\}\}", str(found))) <= set(re.findall(r"\$\{\{(.*?)\}\}", str(tame))) | {" '${{' "}
    with pytest.raises(q.UnquotedError):
        workflow(emulated="x\n        run: evil")


# -- the library's formats --------------------------------------------------------------------------------------------

# What the templates of the library's formats are given, beside the title.
LIBRARY = dict(
    version="1", name=Markup("first"), macro=Markup("FIRST"), api_version=1, files=["src/first_a.c", "first_weights.S"],
    headers=["include/first.h"], weights="incbin", kernels="portable", kernels_why=Markup("For any core."), image_bytes=1,
    arena_bytes=1, forms=0, cores=({"Dcore": "Cortex-M4"},), sub_longest=32,
)  # fmt: skip


def of_library(template: str, title: str) -> str:
    return q.environment().get_template(f"{template}.j2").render(**LIBRARY, title=title)


@pytest.mark.parametrize("template", ["zephyr/CMakeLists.txt", "espidf-component/CMakeLists.txt", "zephyr/Kconfig",
                                      "arduino/library.properties"])  # fmt: skip
def test_build_files_of_a_library_have_the_same_lines_whatever_the_title(template, tmp_path):
    def lines(title: str) -> list[str]:
        found = of_library(template, title).split("\n")
        assert sum(one_line(title).replace("\\", "/") in line for line in found) >= 1
        marks = "#" if template.endswith(".txt") else "\t  " if template.endswith("Kconfig") else "paragraph="
        return [marks if line.startswith(marks) else line for line in found]

    assert all(lines(name) == lines("tame") and not any(line.endswith("\\") for line in lines(name)) for name in HOSTILE)


def test_a_title_in_kconfig_is_help_and_nothing_else(tmp_path):
    for name in HOSTILE:
        (tmp_path / "Kconfig").write_text(of_library("zephyr/Kconfig", name), encoding="utf-8")
        found = kconfiglib.Kconfig(str(tmp_path / "Kconfig"), warn_to_stderr=False)
        assert not found.warnings and [s.name for s in found.unique_defined_syms] == ["RECURC_FIRST", "RECURC_FIRST_HOOK_MACS"]
        assert found.syms["RECURC_FIRST"].nodes[0].help.startswith(f"The model {q.line_comment(name)}, compiled by")


def test_manifests_of_a_library_have_the_title_as_text():
    for name in HOSTILE:
        shown = one_line(name)
        assert yaml.safe_load(of_library("espidf-component/idf_component.yml", name))["description"].endswith(
            q.github_text(name)
        )
        assert json.loads(of_library("arduino/library.json", name))["description"].endswith(shown)
        root = ElementTree.fromstring(of_library("cmsis-pack/pack.pdsc", name).encode())
        assert root.findtext("description") == f"A model that solves puzzles: {shown}"
        tame = ElementTree.fromstring(of_library("cmsis-pack/pack.pdsc", "tame").encode())
        assert [(e.tag, e.attrib) for e in root.iter()] == [(e.tag, e.attrib) for e in tame.iter()]
    assert ElementTree.fromstring(f"<a>{q.xml_text(chr(0xFFFE) + chr(0xD800) + chr(0))}</a>").text


# -- Renode, Robot ----------------------------------------------------------------------------------------------------


def test_renodes_files_have_the_same_lines_whatever_the_names():
    from robot.api import get_model

    def files(name: str) -> dict[str, str]:
        board = replace(load_board("stm32h7"), title=name)
        return render_renode(board, build_name=name, build=name, elf="b/firmware.elf", build_up="../b", data_up="../d")

    def steps(text: str) -> list[tuple]:
        return [
            tuple(t.value for t in s.tokens if t.type not in ("SEPARATOR", "EOL", "DOCUMENTATION", "ARGUMENT"))
            for section in get_model(text).sections
            for s in section.body
            if hasattr(s, "tokens")
        ]

    tame = files("tame")
    for name in HOSTILE:
        found = files(name)
        for suffix in tame:
            assert found[suffix].count("\n") == tame[suffix].count("\n"), (name, suffix)
        code = [re.sub(r"//.*|^:description:.*|^#.*", "", line) for line in found[".resc"].split("\n")]
        assert code == [re.sub(r"//.*|^:description:.*|^#.*", "", line) for line in tame[".resc"].split("\n")]
        code = [line.split("//")[0] for line in found[".repl"].split("\n")]
        assert code == [line.split("//")[0] for line in tame[".repl"].split("\n")]
        assert steps(found[".robot"])[2:] == steps(tame[".robot"])[2:]


def test_a_robot_cell_stays_one_cell_without_variables():
    from robot.api import get_model

    for name in HOSTILE:
        text = f"*** Test Cases ***\nT\n    Log    {q.robot_text(name)}    last\n"
        (section,) = get_model(text).sections
        call = section.body[0].body[0]
        assert call.keyword == "Log" and len(call.args) == 2 and call.args[1] == "last", name


# -- Markdown ---------------------------------------------------------------------------------------------------------


def tokens(text: str) -> list[str]:
    """Types of the tokens of a Markdown text that make structure, HTML and links."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found += [token.type, *(c.type for c in token.children or () if c.type not in ("text", "text_special", "softbreak"))]
    return found


def test_markdown_shows_names_and_does_what_none_of_them_says():
    for name in HOSTILE:
        shown = str(q.markdown(name))
        for text in (f"# {shown}\n", f"* x {shown} y\n", f"| a | b |\n|---|---|\n| {shown} | x |\n"):
            tame = text.replace(shown, "tame")
            assert tokens(text) == tokens(tame), (name, text)
        code = f"| a | b |\n|---|---|\n| {q.markdown_code(name)} | x |\n"
        assert tokens(code) == tokens(code.replace(str(q.markdown_code(name)), "`tame`")), name


def test_pages_of_results_have_no_html_and_no_links_from_names():
    def page(name: str) -> Results:
        table = Table(name, (name, "x"), [(name, "1"), ("y", name)])
        return Results(
            name,
            f"about {name}",
            [table, table],
            [f"note {name}"],
            f"recurc sweep {name}",
            [Plot(name, name, "<svg/>", "p.png")],
            [f"verdict on {name}"],
            [(name, name)],
        )

    tame = page("tame")
    headings = tokens(tame.markdown()).count("heading_open")

    for name in (*HOSTILE, ALL):
        found = tokens(page(name).markdown())
        assert not {"html_inline", "html_block", "link_open"} & set(found), name
        assert found.count("image") == 1 and found.count("heading_open") == headings, name
        assert [e for e, _ in elements(page(name).html())] == [e for e, _ in elements(tame.html())], name


# -- HTML, XML --------------------------------------------------------------------------------------------------------


def elements(text: str) -> list[tuple]:
    """Start tags of a page, with the names of their attributes."""
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, tuple(name for name, _ in attrs)))

    Parser(convert_charrefs=True).feed(text)
    return found


def test_a_report_has_no_other_elements_whatever_the_names():
    def page(name: str) -> str:
        d = document(board=sized("stm32h7", flash=4 << 20))
        d["source"].update(name=name, checkpoint=name, recurc=name)
        d["board"].update(title=name)
        d.update(label=name, target=name)
        for r in d["regions"]:
            r["note"] = name
            for p in r["pieces"]:
                p["name"] = p["lifetime"] = name
        return render_page(d)

    tame = elements(page("tame"))
    for name in (*HOSTILE[::3], ALL):
        text = page(name)
        assert set(elements(text)) <= set(tame), name
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), name


def test_junit_is_xml_whatever_the_names():
    for name in HOSTILE:
        data = junit_document(name, (), {name: name}, error=InputError(name, where=name, why=name))
        suite = ElementTree.fromstring(data)
        assert [e.tag for e in suite.iter()] == ["testsuite", "properties", "property", "testcase", "error"]
