"""What a report says in words; terminal and page say the same."""

from __future__ import annotations

from typing import Any, Mapping

from recurc.report.numbers import bytes_text, count_text

_KNOWN_CHANGE_KEYS = ("change", "fits", "saves", "needs", "region")


def verdict_text(document: Mapping[str, Any]) -> str:
    """"fits TITLE" or "does not fit: N bytes more in REGION"."""
    title = document["board"]["title"]
    if document["fits"]:
        return f"fits {title}"
    if not document["missing_bytes"]:
        return f"does not fit {title}"
    where = f" in {document['region']}" if document["region"] else ""
    return f"does not fit: {document['missing_bytes']:,} bytes more{where} of {title}"


def change_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Changes that were tried, in the planner's order (cheapest first): change, effect, whether it then fits."""
    return [
        (str(c["change"]), _effect(c), "fits then" if c.get("fits") else "does not fit alone")
        for c in document["changes"]
    ]


def _effect(change: Mapping[str, Any]) -> str:
    said = []
    if change.get("saves"):
        said.append(f"saves {change['saves']:,} bytes")
    if change.get("needs"):
        where = f" in {change['region']}" if change.get("region") else ""
        said.append(f"needs {change['needs']:,} bytes{where}")
    for key, value in change.items():
        if key not in _KNOWN_CHANGE_KEYS and value not in (None, ""):
            said.append(f"{key.replace('_', ' ')} {value:,}" if isinstance(value, int) else f"{key.replace('_', ' ')} {value}")
    return ", ".join(said)


def schedule_text(document: Mapping[str, Any]) -> str:
    """The schedule in one line."""
    m = document["model"]
    return (f"{m['steps']} steps, each {m['h_cycles']} x ({m['l_cycles']} x low-level call, then 1 high-level call), "
            "then the heads")


def fact_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of everything that is no memory figure, in reading order; unknown ones are left out."""
    rows: list[tuple[str, str]] = []
    m, board = document["model"], document["board"]
    if m.get("parameters"):
        rows.append(("parameters", f"{m['parameters']:,}"))
    per_call = m.get("macs_per_call")
    if isinstance(per_call, Mapping):
        per_call_text = ", ".join(f"{name} {count_text(n)}" for name, n in per_call.items())
        rows.append(("MACs a call", per_call_text))
    elif per_call:
        rows.append(("MACs a call", count_text(per_call)))
    if m.get("macs_per_step"):
        rows.append(("MACs a step", f"{count_text(m['macs_per_step'])} ({m['macs_per_step']:,})"))
    if m.get("macs_per_puzzle"):
        rows.append(("MACs a puzzle", f"{count_text(m['macs_per_puzzle'])} (all {m['steps']} steps)"))
    rows.append(("schedule", schedule_text(document)))
    carry = f", carry {document['carry']}" if document["carry"] else ""
    kernels = f", kernels {document['kernels']}" if document.get("kernels") else ""
    image = f"{bytes_text(document['image_bytes'])}, " if document.get("image_bytes") else ""
    rows.append(("image", f"{image}{document['label']}{carry}{kernels}"))
    rows += _table_row(document.get("table"))
    rows += _stack_rows(document["stack"])
    if document["linked"]:
        rows.append(("planned = linked", linked_text(document["linked"])))
    rows += _quality_rows(document)
    if board["meaning"]:
        rows.append((document["target"], board["meaning"]))
    if board["evidence"]:
        rows.append(("evidence", board["evidence"]))
    if document["twin"]:
        rows.append((document["twin"], "its emulated twin: same objects but the port; `recurc verify` runs it"))
    rows += [(f"needs {r['name']}", r["note"] or "an optional region of this board")
             for r in document["regions"] if r["optional"] and r["used"]]
    return rows


def _table_row(table: Any) -> list[tuple[str, str]]:
    if not isinstance(table, Mapping) or not table.get("rows"):
        return []
    size = f", {bytes_text(table['file_bytes'])}" if table.get("file_bytes") else ""
    return [("puzzle table", f"{table['rows']:,} rows, {table.get('storage', '')}{size}, beside the image")]


def _stack_rows(stack: Any) -> list[tuple[str, str]]:
    if not stack:
        return []
    said = [f"{stack['reserved']:,} bytes reserved"]
    if stack["worst"] is not None:
        said.append(f"worst path {stack['worst']:,}")
    said.append(f"measured high-water {stack['measured']:,}" if stack["measured"] is not None else "not measured")
    rows = [("stack", ", ".join(said))]
    if stack["path"]:
        rows.append(("worst path", " > ".join(_call(call) for call in stack["path"])))
    return rows


def _call(call: Any) -> str:
    """A function of the worst path: its name, with its frame where that is told."""
    if isinstance(call, Mapping):
        frame = call.get("bytes", call.get("frame"))
        return str(call.get("function", call.get("name", "?"))) + (f" {frame:,}" if frame is not None else "")
    if isinstance(call, (list, tuple)) and len(call) == 2:
        return f"{call[0]} {call[1]:,}"
    return str(call)


def linked_text(linked: Mapping[str, Any]) -> str:
    """Whether the linked firmware takes what was planned, region by region."""
    if linked["equal"]:
        return "yes, to the byte: " + ", ".join(f"{r['name']} {r['linked']:,}" for r in linked["regions"])
    return "NO: " + ", ".join(f"{r['name']} planned {r['planned']:,}, linked {r['linked']:,}"
                              for r in linked["regions"] if r["difference"])


def _quality_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    fidelity, accuracy = document.get("fidelity"), document.get("accuracy")
    if fidelity:
        judged = "" if "calibration" in (fidelity["inputs"] or "") else ": told, not judged; pass --data DIR for a verdict"
        rows.append(("fidelity", f"{fidelity['value']:.4f} after one step, {fidelity['n']} {fidelity['inputs']}{judged}"))
    if accuracy:
        rows.append(("accuracy", f"{100 * accuracy['exact']:.1f} % puzzles exact, {100 * accuracy['cell']:.1f} % cells, "
                                 f"first {accuracy['n']} test puzzles, after step {document['model']['steps']}"))
    return rows
