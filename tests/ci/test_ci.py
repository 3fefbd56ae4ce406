"""The workflow for GitHub: valid, safe to write, and its shell lines really run. The Robot test runs against QEMU."""

import dataclasses
import json
import re
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from robot import api

import recurc
from recurc.cli.main import main
from recurc.errors import InputError, UsageError
from recurc.make import ci
from recurc.make.ci import WORKFLOW, ci_files, dataset_files, write_files
from recurc.targets.boards import load_board
from tests.ci.resc import check_resc


@pytest.fixture(scope="module")
def workflow(repository) -> dict:
    return yaml.safe_load((repository / WORKFLOW).read_text())


def steps(workflow: dict) -> list[dict]:
    return workflow["jobs"]["verify"]["steps"]


def test_the_workflow_follows_githubs_schema(repository):
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows",
                           str(repository / WORKFLOW)], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_finds_mistakes(repository, tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((repository / WORKFLOW).read_text().replace("runs-on:", "run-on:"))
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(wrong)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode != 0


def test_what_the_job_does(workflow):
    job = workflow["jobs"]["verify"]
    assert job["container"].startswith("debian:") and job["timeout-minutes"] > 0
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow[True]) == {"push", "pull_request", "workflow_dispatch"}  # YAML 1.1 reads `on` as True
    lines = "\n".join(s.get("run", "") for s in steps(workflow))
    assert re.search(r"apt-get install .*\bqemu-system-arm\b", lines) and "gcc" not in lines
    assert [s["uses"].split("@")[0] for s in steps(workflow) if "uses" in s] == ["actions/checkout", "actions/upload-artifact"]


def test_the_shell_lines_run_in_a_clean_folder(workflow, repository, tmp_path):
    """As on a runner: another home, a fresh virtual environment, the wheel installed into it; apt-get only takes notes.

    Packages that the wheel needs come from this environment by a folder of links that leaves recurc itself out.
    """
    temp, site, tools = (tmp_path / name for name in ("runner", "site", "tools"))
    for folder in (temp, site, tools):
        folder.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if "recurc" not in entry.name:
            (site / entry.name).symlink_to(entry)
    (tools / "apt-get").write_text('#!/bin/sh\necho "$@" >> "$RUNNER_TEMP/apt"\n')
    (tools / "apt-get").chmod(0o755)
    env = {
        "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "HOME": str(temp), "RUNNER_TEMP": str(temp), "PYTHONPATH": str(site),
        "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1",
        **workflow["jobs"]["verify"]["env"],
    }  # fmt: skip
    python = tools / "python3"
    python.symlink_to(Path(sys.executable).resolve())
    for step in steps(workflow):
        if "run" not in step:
            continue
        # The shell that GitHub starts for `shell: bash`.
        done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=repository, env=env,
                              capture_output=True, text=True, timeout=600)  # fmt: skip
        assert done.returncode == 0, f"{step['name']}\n{done.stdout}\n{done.stderr}"
    document = json.loads((repository / "recurc-verify.json").read_text())
    assert document["schema"] == "recurc/verify/1" and document["bit_exact"] and document["n"] == 1
    (suite,) = ElementTree.parse(repository / "recurc-junit.xml").getroot().iter("testsuite")
    assert int(suite.get("failures")) == 0 and int(suite.get("tests")) >= 1
    assert "qemu-system-arm" in (temp / "apt").read_text()
    where = [temp / "recurc/bin/python", "-c", "import recurc; print(recurc.__file__)"]
    installed = subprocess.run(where, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert installed.stdout.startswith(str(temp))


def test_the_puzzles_written_are_the_dataset_s(repository, data):  # noqa: F811
    there, here = recurc.load_dataset(repository / "recurc-ci" / "data", "test"), recurc.load_dataset(data, "test").take(1)
    for name in ("inputs", "labels", "puzzle_ids"):
        assert np.array_equal(getattr(there, name), getattr(here, name))
    assert (there.vocab_size, there.ignore_label_id) == (here.vocab_size, here.ignore_label_id)


def test_writing_again_changes_nothing_and_overwrites_only_by_force(repository, data, wheel, tmp_path, capsys):  # noqa: F811
    command = ["ci", str(repository / "firmware" / "tiny"), "--out", str(repository), "--data", str(data), "--limit", "1",
               "--install", str(wheel), "--json"]  # fmt: skip
    before = (repository / WORKFLOW).read_bytes()
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "recurc/ci/1" and document["emulated"] == "mps2-an500" and document["renode_run"] is False
    assert (repository / WORKFLOW).read_bytes() == before and len(document["renode"]) == 3
    write_files(tmp_path, {"a": b"1"})
    with pytest.raises(UsageError, match="differs"):
        write_files(tmp_path, {"b": b"1", "a": b"2"})
    assert not (tmp_path / "b").exists()
    write_files(tmp_path, {"a": b"2"}, force=True)
    assert (tmp_path / "a").read_bytes() == b"2"


def test_a_build_outside_the_repository_is_refused(built, data, tmp_path, capsys):  # noqa: F811
    assert main(["ci", str(built.path), "--out", str(tmp_path), "--data", str(data)]) == 2
    assert "outside the repository" in capsys.readouterr().err and not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["with $HOME", "a${{ github.token }}", "b`id`", "c\nd"])
def test_a_path_that_would_be_read_as_a_command_is_refused(built, data, tmp_path, name):  # noqa: F811
    folder = tmp_path / name
    folder.mkdir()
    with pytest.raises(InputError, match="cannot stand in a workflow"):
        ci_files(dataclasses.replace(built, path=folder), tmp_path, recurc.load_dataset(data, "test").take(1), "recurc")


@pytest.mark.parametrize(
    "origin, requirement, certain",
    [
        ('{"url": "https://h/r.git", "vcs_info": {"vcs": "git", "commit_id": "ab"}}', "recurc @ git+https://h/r.git@ab", True),
        ('{"url": "https://host/recurc.whl", "archive_info": {}}', "recurc @ https://host/recurc.whl", True),
        ('{"url": "file:///checkout", "dir_info": {"editable": true}}', f"recurc=={recurc.__version__}", False),
        (None, f"recurc=={recurc.__version__}", True),
    ],
)
def test_where_the_runner_gets_recurc(monkeypatch, origin, requirement, certain):
    installed = type("D", (), {"read_text": lambda self, name: origin, "files": None})()
    monkeypatch.setattr(ci.metadata, "distribution", lambda _: installed)
    assert ci.install_source() == ci.Source(requirement, certain)


def test_a_build_that_git_ignores_is_told(repository, tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("build/\n")
    assert ci.ignored_by_git(tmp_path, tmp_path / "build" / "tiny") and not ci.ignored_by_git(tmp_path, tmp_path / "firmware")
    assert not ci.ignored_by_git(tmp_path / "nowhere", tmp_path)


def test_labels_that_do_not_count_survive(tmp_path, data):  # noqa: F811
    puzzles = recurc.load_dataset(data, "test").take(3)
    labels = puzzles.labels.copy()
    labels[0, :4] = -100
    folder = tmp_path / "set" / "test"
    folder.mkdir(parents=True)
    changed = dataclasses.replace(puzzles, labels=labels, ignore_label_id=-100)
    for name, content in dataset_files(changed).items():
        (folder / name).write_bytes(content)
    again = recurc.load_dataset(tmp_path / "set", "test")
    assert np.array_equal(again.labels, labels) and np.array_equal(again.valid, changed.valid) and not again.valid[0, :4].any()


# -- Renode's files of this build ----------------------------------------------------------------------------------


def test_the_script_finds_the_build(repository):
    folder = repository / "recurc-ci" / "renode"
    assert "sysbus LoadELF $elf" in check_resc((folder / "mps2-an500.resc").read_text(), folder)


class Keywords:
    """Robot keywords of Renode, played by QEMU: the platform's UART goes to the port that the test sets."""

    def __init__(self, elf: Path) -> None:
        self.elf, self.port, self.said = elf, 0, []
        self.process = None

    def execute_command(self, line: str) -> None:
        self.said.append(line)
        if line.startswith("$port="):
            self.port = int(line.split("=")[1])

    def start_emulation(self) -> None:
        emulator = load_board("mps2-an500").emulator
        uart = f"tcp:127.0.0.1:{self.port},server=on,wait=off"
        self.process = subprocess.Popen(
            [emulator.program, "-M", emulator.machine, "-display", "none", "-monitor", "none", "-nodefaults", *emulator.args,
             "-serial", uart, "-kernel", str(self.elf)], stdin=subprocess.DEVNULL)  # fmt: skip


def run_robot(file: Path, keywords: object, **options) -> tuple[int, str]:
    """Return code and output of a Robot test with the keywords that renode-test would add."""
    suite = api.TestSuite.from_file_system(file)
    sys.modules["renode_keywords"] = module = type(sys)("renode_keywords")
    for name in ("execute_command", "start_emulation"):
        setattr(module, name, getattr(keywords, name))
    suite.resource.imports.library("renode_keywords")
    out = StringIO()
    result = suite.run(output=None, stdout=out, stderr=out, **options)
    return result.return_code, out.getvalue()


def test_robot_reads_the_test(repository, tmp_path):
    file = repository / "recurc-ci" / "renode" / "mps2-an500.robot"
    keywords = Keywords(Path("none"))
    code, said = run_robot(file, keywords, dryrun=True)
    assert code == 0 and keywords.said == [], said
    wrong = tmp_path / "wrong.robot"
    wrong.write_text(file.read_text().replace("Start Emulation", "Start Emulatoin"))
    assert run_robot(wrong, keywords, dryrun=True)[0] == 1


def test_robot_runs_the_test_against_qemu(repository):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    keywords = Keywords(repository / "firmware" / "tiny" / "mps2-an500" / "firmware.elf")
    here = str(Path(sys.executable).parent / "recurc")
    try:
        code, said = run_robot(repository / "recurc-ci" / "renode" / "mps2-an500.robot", keywords,
                               variable=[f"UART_PORT:{port}", f"RECURC:{here}"])  # fmt: skip
    finally:
        if keywords.process:
            keywords.process.kill()
            keywords.process.wait()
    assert code == 0, said
    assert keywords.said[0] == f"$port={port}" and keywords.said[1].endswith("mps2-an500.resc")
