"""What a Renode script must say."""

from __future__ import annotations

import re
from pathlib import Path

COMMANDS = {"mach", "machine", "emulation", "connector", "macro", "runMacro", "sysbus", "cpu", "using"}


def check_resc(text: str, folder: Path) -> list[str]:
    """Commands of a Renode script; macros are read like the rest. Fails on what the monitor would not take."""
    assert text.count('"""') % 2 == 0
    variables, found = {"ORIGIN"}, []
    for line in (x.strip() for x in text.splitlines()):
        if not line or line.startswith("#") or line == '"""' or re.match(r":(name|description): \S", line):
            continue
        assignment = re.match(r"\$(\w+)\s*\?=\s*(\S+)$", line)
        for name in re.findall(r"\$(\w+)", assignment[2] if assignment else line):
            assert name in variables, f"{name} is set nowhere: {line}"
        for path in re.findall(r"\$ORIGIN/(\S+)", line):
            assert (folder / path).is_file(), path
        if assignment:
            variables.add(assignment[1])
            continue
        assert line.count('"') % 2 == 0 and line.count("`") % 2 == 0, line
        assert line.split()[0] in COMMANDS, line
        if line.startswith("macro "):
            variables.add(line.split()[1])
        found.append(line)
    return found
