"""Texts of board files."""

from __future__ import annotations

GOOD = """
name = "b"
title = "a board"
family = "arm"
core = "cortex-m7"
cpu_flags = ["-mcpu=cortex-m7"]
features = ["dsp"]
ports = ["arm_common"]
clock_hz = 1000000
stack_bytes = 4096
verified = "described"

[uart]
kind = "cmsdk"
base = 0x40004000
baud = 115200

[ticks]
source = "x"
hz = 1000

[[regions]]
name = "flash"
kind = "flash"
base = 0x08000000
size = 0x1000

[[regions]]
name = "ram"
kind = "ram"
base = 0x20000000
size = 0x1000

[placement]
code = ["flash"]
image = ["flash"]
arena = ["ram"]
data = ["ram"]
stack = ["ram"]
"""


BOOT = '[boot]\nport = "{port}"\nplace = "{place}"\nbytes = {bytes}\n\n[uart]'
