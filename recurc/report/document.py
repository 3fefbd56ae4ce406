"""The report as one document ("recurc/report/1"): what `--json` prints and every rendering is made from.

Built from a build folder's manifest, or from a plan alone. Nothing is computed twice: regions, pieces, verdict and model
figures are the planner's (`plan_summary`), sizes after the link are the manifest's, read from the ELF.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recurc import __version__
from recurc.arguments import argument
from recurc.build.manifest import BOARD_FILE, Build
from recurc.errors import RecurcError, UsageError
from recurc.reading import Refused, Unreadable, not_read, read_text
from recurc.recursion import Depth
from recurc.report.regions import region_rows, unused
from recurc.report.timing import time_entry
from recurc.report.wording import tune_command
from recurc.resources import bundled_models
from recurc.targets.boards import Board
from recurc.targets.reach import reach_text
from recurc.verify.record import verified

SCHEMA = "recurc/report/1"
_SOURCE = ("kind", "path", "name", "checkpoint", "sha256", "recurc", "model_sha256", "build_id")


def printable(value: Any) -> Any:
    """The value with control characters in its texts replaced: names come from files, and end on terminals and in XML."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in value)
    if isinstance(value, Mapping):
        return {printable(str(k)): printable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(v) for v in value]
    return value


def report_build(build: Build, board: str | None = None) -> dict[str, Any]:
    """The report of a build folder, for its target or another of its boards.

    Raises:
        UsageError: the build has no such board.
    """
    name = board or build.target
    if name not in build.boards:
        known = ", ".join(build.boards)
        raise UsageError(
            f"this build has no firmware for {name}",
            where=str(build.path),
            why=f"it was made for {known}",
            next=f"name one of these with {argument('board', option='target')}, or build for that board",
        )
    d, entry = build.details, build.details["boards"][name]
    known_board = _board_or_none(build, name)
    found, doubts = verified_here(build, name)
    plan: Mapping[str, Any] = entry.get("plan") or {}
    macs: Any = entry.get("hook_macs")
    linked = entry.get("regions", [])
    notes = {r["name"]: {"optional": r.get("optional", False), "note": r.get("note", "")} for r in linked}
    kinds = plan.get("regions") or linked
    source = {
        "kind": "build",
        "path": str(build.path),
        "name": build.name,
        "checkpoint": d.get("checkpoint", {}).get("source"),
        "sha256": d.get("checkpoint", {}).get("sha256"),
        "recurc": d.get("recurc"),
        "model_sha256": entry.get("model_sha256"),
        "build_id": entry.get("build_id"),
    }
    c = build.config
    fidelity = (
        None
        if d.get("fidelity") is None
        else {
            "value": d["fidelity"],
            "error": d.get("fidelity_error"),
            "n": d.get("fidelity_puzzles"),
            "inputs": d.get("fidelity_inputs"),
            "after_steps": 1,
            "least": d.get("min_fidelity"),
            "least_from": d.get("min_fidelity_from"),
        }
    )
    return _document(
        source=source,
        board=known_board,
        target=name,
        twin=build.twin if name == build.target else None,
        precision=build.precision,
        label=d.get("label", build.precision),
        carry=_carry(d, plan),
        depth=build.depth,
        plan=plan,
        regions=region_rows(kinds, notes),
        estimated=bool(plan.get("estimated")) and not entry.get("link"),
        linked=_linked(entry),
        measured=_measured(found),
        more={
            "kernels": entry.get("kernels"),
            "image_bytes": d.get("image_bytes"),
            "trained": {"steps": c.halt_max_steps, "h_cycles": c.H_cycles, "l_cycles": c.L_cycles},
            "image_parts": (plan.get("image") or {}).get("parts"),
            "arena_bytes": d.get("arena_bytes"),
            "boards": list(build.boards),
            "packages": list(build.packages),
            "verified": found,
            "notes": [*build.notes, *doubts],
            "fidelity": fidelity,
            "accuracy": _accuracy(d, build),
            **({"solve": d["solve"]} if d.get("solve") else {}),
            "table": plan.get("table"),
            "time": time_entry(plan, known_board, found, macs),
        },
    )


def _accuracy(details: Mapping[str, Any], build: Build) -> dict[str, Any] | None:
    """What the manifest has, and the command that finds a better halting rule."""
    found, source = details.get("accuracy"), details.get("checkpoint", {}).get("source")
    if not found or "halting" not in found or source is None:
        return found
    folder = Path(source).parent
    bundled = folder.name if bundled_models().get(folder.name) == folder else None
    command = tune_command(bundled or source, None if bundled else details.get("data"), build.target)
    return {**found, "halting": {**found["halting"], "tune": command}}


def verified_here(build: Build, name: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The latest verification of a board's firmware, or else of its emulated twin's, `board` says whose it is; and what is to
    be said of results that no journal supports."""
    doubts = []
    for board in (name, build.twin if name == build.target else None):
        found, doubt = verified(build, board) if board else (None, "")
        doubts += [doubt] if doubt else []
        if found:
            return {**found, "board": board}, doubts
    return None, doubts


def _measured(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Painted stack high-water, and the board that told it."""
    return {"measured": found["stack_used"], "measured_on": found["board"]} if found and found.get("stack_used") else None


def report_plan(
    plan: Mapping[str, Any], board: Board, source: Mapping[str, Any], *, precision: str, carry: str, depth: Depth
) -> dict[str, Any]:
    """The report of a plan that nothing was built from: sizes of code and data are estimates.

    Args:
        plan: what `plan_summary` gives.
        source: name, checkpoint, sha256 of the model.
        depth: how often the model turns.
    """
    notes = {r.name: {"optional": r.optional, "note": r.note} for r in board.regions}
    return _document(
        source={"kind": "plan", "recurc": __version__, **source},
        board=board,
        target=board.name,
        twin=board.twin,
        precision=precision,
        label=precision,
        carry=carry,
        depth=depth,
        plan=plan,
        regions=region_rows(plan["regions"], notes),
        estimated=True,
        linked=None,
        measured=None,
        more={
            "kernels": (plan.get("model") or {}).get("kernels"),
            "image_bytes": (plan.get("image") or {}).get("bytes"),
            "image_parts": (plan.get("image") or {}).get("parts"),
            "arena_bytes": plan.get("arena_bytes"),
            "packages": list(board.packages),
            "notes": [],
            "fidelity": None,
            "accuracy": None,
            "table": plan.get("table"),
            "time": time_entry(plan, board, None),
        },
    )


def _document(
    *,
    source: Mapping[str, Any],
    board: Board | None,
    target: str,
    twin: str | None,
    precision: str,
    label: str,
    carry: str | None,
    depth: Depth,
    plan: Mapping[str, Any],
    regions: list[dict[str, Any]],
    estimated: bool,
    linked: dict[str, Any] | None,
    measured: Mapping[str, Any] | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    verdict = plan.get("verdict") or {"fits": True}
    document: dict[str, Any] = printable(
        {
            "schema": SCHEMA,
            "source": {**dict.fromkeys(_SOURCE), **source},
            "target": target,
            "twin": twin,
            "precision": precision,
            "label": label,
            "carry": carry,
            "estimated": estimated,
            "board": _board_entry(board, target),
            "fits": bool(verdict.get("fits", True)),
            "open": bool(verdict.get("open")),
            "missing_bytes": int(verdict.get("missing_bytes") or 0),
            "region": verdict.get("region"),
            "missing": list(verdict.get("missing") or ()),
            "changes": list(verdict.get("changes") or ()),
            "model": {**vars(depth), **(plan.get("model") or {})},
            "regions": regions + unused(board, regions),
            "stack": _stack(plan, board, regions, measured),
            "linked": linked,
            **more,
        }
    )
    return document


def _carry(details: Mapping[str, Any], plan: Mapping[str, Any]) -> str | None:
    return details.get("carry") or (plan.get("model") or {}).get("carry")


def _board_or_none(build: Build, name: str) -> Board | None:
    """The board as the build has it, or None where neither the build nor this recurc knows it any more.

    Raises:
        InputError: the build has its file, and the system does not let it be read.
    """
    own = f"{name}/{BOARD_FILE}"
    try:
        if own in build.details["files"]:
            read_text(build.path / own)
    except Refused as error:
        raise not_read(error, build.path / own, "the build's board file", "", "") from None
    except Unreadable:
        pass
    try:
        return build.board(name)
    except RecurcError:
        return None


def _board_entry(board: Board | None, name: str) -> dict[str, Any]:
    if board is None:
        return {"name": name, "title": name, "core": None, "verified": None, "meaning": None, "evidence": "", "reference": ""}
    return {
        "name": board.name,
        "title": board.title,
        "core": board.core,
        "verified": board.verified,
        "meaning": reach_text(board.family, board.verified),
        "evidence": board.evidence,
        "reference": board.reference,
    }


def _stack(
    plan: Mapping[str, Any], board: Board | None, regions: list[dict[str, Any]], measured: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Stack: reserved bytes, worst path with its functions, measured high-water; None where nothing is reserved."""
    found = {**(plan.get("stack") or {}), **(measured or {})}
    reserved = found.get("reserved") or sum(r["parts"].get("stack", 0) for r in regions)
    if not reserved and board is not None and board.family != "host":
        reserved = board.stack_bytes
    if not reserved:
        return None
    return {
        "reserved": reserved,
        "worst": found.get("worst"),
        "path": list(found.get("path") or ()),
        "interrupt_bytes": found.get("interrupt_bytes"),
        "measured": found.get("measured"),
        "measured_on": found.get("measured_on"),
    }


def _linked(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the linked ELF compares with the plan; None where the manifest does not say."""
    link = entry.get("link")
    if not link:
        return None
    sections = [dict(s) for s in link.get("sections", ())]
    return {"equal": bool(link["agrees"]), "differences": list(link.get("differences", ())), "sections": sections}
