"""Folders that PlatformIO leaves in a project."""

from __future__ import annotations

import re

LOCAL_FOLDERS = re.compile(r"/(?:home|tmp|usr|root|work|var)/")
