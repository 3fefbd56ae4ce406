"""USB identities in board files: by them a serial port is known as a board's."""

from __future__ import annotations

import re

from recurc.reading import shown
from recurc.targets.tomltable import Table


def read_usb(t: Table) -> tuple[str, ...]:
    """`usb` of a board file: "vvvv:pppp", or "vvvv:*" for any product of a vendor; () without it.

    Raises:
        InputError: something else stands there.
    """
    identities = t.words("usb", [])
    for identity in identities:
        if not re.fullmatch(r"[0-9a-f]{4}:([0-9a-f]{4}|\*)", identity):
            raise t.bad(f"usb: {shown(identity)} is no USB identity", 'Write "0483:374b", or "0483:*" for any product')
    return identities
