"""Tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """One line a row. columns: what is written of each row; None: the keys of the first row, beyond which no other may go."""
    rows, out = list(rows), io.StringIO()
    writer = csv.DictWriter(out, columns or list(rows[0]), extrasaction="ignore" if columns else "raise", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
