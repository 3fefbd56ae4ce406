"""Numbers for people."""

from __future__ import annotations

# What a number of bytes counts, in one set of words wherever one is shown: each of the three holds the one before it.
LINEAR_BYTES = "weights and scales of the linear layers"
READ_BYTES = f"{LINEAR_BYTES} as they are stored, tables and vectors"
IMAGE_BYTES = "the weights image of a build: weights, scales, tables, vectors, headers and padding"


def bytes_text(n: int) -> str:
    """A byte count for people: exact below 10 KiB, else KiB or MiB."""
    if n < 10 * 1024:
        return f"{n:,} B"
    return f"{n / 1024:,.1f} KiB" if n < 10 * 1024 * 1024 else f"{n / 1024**2:,.2f} MiB"


def count_text(n: float) -> str:
    """A count for people: 610.3 M, 12.82 G."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(n) >= limit:
            return f"{n / limit:.4g} {unit}"
    return f"{n:,}"


def fidelity_text(phi: float, error: float | None, digits: int = 4) -> str:
    """A cosine, with its standard error where that is known."""
    return f"{phi:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")


def loss_text(loss: float, error: float, n: int) -> str:
    """Points of puzzles exact that are lost, with the standard error: that none of n differs is no certainty, so at least as
    though one did."""
    return f"{100 * loss:.1f} ± {100 * max(error, 1 / max(n, 1)):.1f}"


def size_text(n: int) -> str:
    """A memory's size: whole MiB or KiB where it is that, else exact."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if n and n % unit == 0:
            return f"{n // unit:,} {name}"
    return bytes_text(n)


def percent_text(part: int, whole: int) -> str:
    """A share in percent; what is there at all never shows as 0.0 %, and what is not all never as 100.0 %."""
    if not whole:
        return "0.0 %"
    share = 100 * part / whole
    if 0 < share < 0.05:
        return "< 0.1 %"
    if 99.95 <= share < 100:
        return "> 99.9 %"
    return f"{share:,.1f} %"
