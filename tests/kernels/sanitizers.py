"""Flags of the sanitizers."""

from __future__ import annotations

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
