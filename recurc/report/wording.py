"""What a report says in words; terminal and page say the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recurc.noise import START
from recurc.package.registry import delivered
from recurc.report.numbers import bytes_text, count_text, fidelity_text
from recurc.solve import BELIEVED

if TYPE_CHECKING:
    from recurc.evaluate.stopping import Halting


def verdict_text(document: Mapping[str, Any]) -> str:
    """ "fits TITLE" or "does not fit: N bytes more in REGION"."""
    if document.get("open"):
        return (
            f"may fit {document['board']['title']}: what is left for code is less than the estimate, "
            "and only `recurc build` measures it"
        )
    if document["fits"]:
        return f"fits {document['board']['title']}"
    missing = document["missing"] or [{"region": document["region"], "bytes": document["missing_bytes"]}]
    return "does not fit: " + " and ".join(f"{m['bytes']:,} bytes more in {m['region']}" for m in missing)


def change_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Changes that were planned, cheapest first: change, its options, what comes of it."""
    return [(str(c["change"]), " ".join(c.get("options", ())), _outcome(c)) for c in document["changes"]]


def _outcome(change: Mapping[str, Any]) -> str:
    saves = f", saves {change['saves']:,} bytes" if change.get("saves") else ""
    if change.get("fits"):
        return f"fits{saves}"
    lacks = f", {change['missing_bytes']:,} bytes more in {change['region']}" if change.get("missing_bytes") else ""
    return f"does not fit alone{saves}{lacks}"


def schedule_text(document: Mapping[str, Any]) -> str:
    """The schedule in one line, and the trained one where that is another."""
    m, trained = document["model"], document.get("trained")
    said = (
        f"{m['steps']} steps, each {m['h_cycles']} x ({m['l_cycles']} x low-level call, then 1 high-level call), then the heads"
    )
    if not trained or not other_depth(document):
        return said
    return f"{said}; trained with {trained['steps']} steps of {trained['h_cycles']} x {trained['l_cycles']}"


def other_depth(document: Mapping[str, Any]) -> bool:
    """Whether steps or cycles are others than in training."""
    return any(document["model"].get(name) != value for name, value in (document.get("trained") or {}).items())


def fact_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of everything that is no memory figure, in reading order; unknown ones are left out."""
    rows: list[tuple[str, str]] = []
    m, board = document["model"], document["board"]
    if m.get("parameters"):
        rows.append(("parameters", f"{m['parameters']:,}, puzzle embeddings not counted"))
    blocks = m.get("macs_by_block") or {}
    if len(set(blocks.values())) > 1:
        rows.append(("MACs a call", ", ".join(f"{name} {count_text(n)}" for name, n in blocks.items())))
    elif m.get("macs_per_call"):
        rows.append(("MACs a call", f"{count_text(m['macs_per_call'])} ({m['macs_per_call']:,})"))
    if m.get("macs_per_step"):
        rows.append(("MACs a step", f"{count_text(m['macs_per_step'])} ({m['macs_per_step']:,})"))
    if m.get("macs_per_puzzle"):
        rows.append(("MACs a puzzle", f"{count_text(m['macs_per_puzzle'])} (all {m['steps']} steps)"))
    rows.append(("schedule", schedule_text(document)))
    carry = f", carry {document['carry']}" if document["carry"] else ""
    kernels = f", kernels {document['kernels']}" if document.get("kernels") else ""
    image = f"{bytes_text(document['image_bytes'])}, " if document.get("image_bytes") else ""
    rows.append(("image", f"{image}{document['label']}{carry}{kernels}"))
    rows += _image_sum(document.get("image_parts"))
    if document.get("arena_bytes"):
        rows.append(("carry + scratch", f"{bytes_text(document['arena_bytes'])} (z_H and z_L in place, X never stored)"))
    rows += _table_row(document.get("table"))
    rows += _stack_rows(document["stack"])
    if document["linked"]:
        rows.append(("planned = linked", linked_text(document["linked"])))
    rows += _quality_rows(document)
    rows += _solve_row(document.get("solve"), document.get("accuracy"))
    if board["meaning"]:
        rows.append((document["target"], board["meaning"]))
    if board["evidence"]:
        rows.append(("evidence", board["evidence"]))
    if board["reference"]:
        rows.append(("reference part", board["reference"]))
    if document["packages"] and (board["core"] != "host" or document["packages"] != ["firmware"]):
        rows.append(("delivered as", "; ".join(delivered(document["packages"]))))
    if document["twin"]:
        rows.append((document["twin"], "its emulated twin: same objects but the port; `recurc verify` runs it"))
    rows += [
        (f"needs {r['name']}", r["note"] or "an optional region of this board")
        for r in document["regions"]
        if r["optional"] and r["used"]
    ]
    return rows


def _image_sum(parts: Mapping[str, int] | None) -> list[tuple[str, str]]:
    """How the weights image's bytes add up."""
    if not parts:
        return []
    named = {"headers": "headers and padding"}
    terms = " + ".join(f"{named.get(kind, kind)} {size:,}" for kind, size in parts.items() if size)
    return [("image bytes", f"{terms} = {sum(parts.values()):,}")]


def _solve_row(solve: Mapping[str, Any] | None, accuracy: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How the build answers puzzles, where it has forms of them."""
    if not solve:
        return []
    again = f"in other forms ({solve['symmetry']})"
    if solve.get("noise"):
        where = "at the start" if solve.get("noise_at", START) == START else "before each step"
        again = (f"{again} while there are some, " if solve["forms"] else "") + f"with noise of {solve['noise']:g} {where}"
    said = f"{solve['steps']} steps, then up to {solve['restarts']} restarts of {solve['restart_steps']} {again}"
    rows = [("answers", f"{said}; believed is {BELIEVED[solve['accept']]}")]
    if (found := (accuracy or {}).get("answers")) and accuracy:
        wrong = f"{found['solved']} of {accuracy['n']} called solved, {found['wrong_solved']} of them wrongly"
        rows.append(("asked again", f"{100 * found['exact']:.1f} % puzzles exact at {found['mean_steps']:.2f} steps; {wrong}"))
    return rows


def _table_row(table: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not table:
        return []
    where = f"memory-mapped in {table['region']} at 0x{table['address']:08x}" if table.get("region") else "rows over the wire"
    return [("puzzle table", f"{table['bytes']:,} bytes in a file of its own, {where}")]


def _stack_rows(stack: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not stack:
        return []
    said = [f"{stack['reserved']:,} bytes reserved"]
    if stack["worst"] is not None:
        said.append(f"worst path {stack['worst']:,}")
    if stack["measured"] is None:
        said.append("high-water not measured")
    else:
        where = f" ({stack['measured_on']})" if stack["measured_on"] else ""
        said.append(f"measured high-water {stack['measured']:,}{where}")
    rows = [("stack", ", ".join(said))]
    if stack["path"]:
        calls = " > ".join(f"{call['function']} {call['bytes']:,}" for call in stack["path"])
        interrupt = f", and {stack['interrupt_bytes']:,} for an interrupt" if stack["interrupt_bytes"] else ""
        rows.append(("worst path", calls + interrupt))
    return rows


def linked_text(linked: Mapping[str, Any]) -> str:
    """Whether the linked firmware lies where it was planned."""
    sections = linked["sections"]
    what = f"{len(sections)} sections, {sum(s['bytes'] for s in sections):,} bytes" if sections else "all sections"
    if not linked["differences"]:
        return f"yes, to the byte: {what}, read from the ELF" if linked["equal"] else "NO"
    said = "; ".join(linked["differences"])
    return f"yes, but for alignment: {what}; {said}" if linked["equal"] else f"NO: {said}"


def tune_command(checkpoint: str | None, data: object = None, target: str | None = None) -> str:
    """The command that finds when to stop, for a shell."""
    words = [
        "recurc",
        "tune",
        *([str(checkpoint)] if checkpoint else []),
        *(["--data", str(data)] if data else []),
        *(["--target", target] if target else []),
    ]
    return shlex.join(words)


def halting_text(halting: Halting, steps: int, advice: str | None = None) -> str:
    """What stopping early does to the answers of `steps` steps: more steps are not always better.

    Args:
        halting: see `recurc.evaluate.stopping.Halting`. advice: the command that finds a better rule, if this one costs.
    """
    lost, error = 100 * halting.lost, 100 * halting.error
    said = (
        f"stopping early {'costs' if lost >= 0 else 'gains'} {abs(lost):.2f} ± {error:.2f} points exact and "
        f"saves {100 * (1 - halting.mean_steps / steps):.0f} % of the steps"
    )
    return said + (f"; `{advice}` looks for a rule that keeps them" if advice and halting.costs else "")


def _quality_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    fidelity, accuracy, verified = (document.get(key) for key in ("fidelity", "accuracy", "verified"))
    if fidelity:
        least = "" if fidelity.get("least") is None else f"; at least {fidelity['least']:g} is needed"
        least += f" ({fidelity['least_from']})" if least and fidelity.get("least_from") else ""
        random = (fidelity["inputs"] or "random").startswith("random")
        judged = ": told, not judged; calibration gives a verdict" if random else least
        value = fidelity_text(fidelity["value"], fidelity.get("error"))
        rows.append(("fidelity", f"{value} after one step, {fidelity['n']} {fidelity['inputs']}{judged}"))
    if accuracy:
        fp32 = "fp32 at this depth" if other_depth(document) else "fp32"
        error = "" if accuracy.get("exact_error") is None else f" ± {100 * accuracy['exact_error']:.1f}"
        beside = "" if accuracy.get("fp32_exact") is None else f" ({fp32} {100 * accuracy['fp32_exact']:.1f} %)"
        rows.append(
            (
                "accuracy",
                f"{100 * accuracy['exact']:.1f}{error} % puzzles exact{beside}, "
                f"{100 * accuracy['cell']:.1f} % cells, first {accuracy['n']} test puzzles, after step "
                f"{document['model']['steps']}",
            )
        )
        rows += _halting_row(document, accuracy.get("halting"), accuracy["n"])
    if verified:
        rows.append(
            (
                "verified",
                f"{verified['matched']} of {verified['n']} puzzles equal to the host in every bit, on {verified['board']}",
            )
        )
    return rows


def _halting_row(document: Mapping[str, Any], halting: Mapping[str, Any] | None, n: int) -> list[tuple[str, str]]:
    if not halting:
        return []
    from recurc.evaluate.halting import Halt, stayed_text
    from recurc.evaluate.scores import Scores
    from recurc.evaluate.stopping import Halting

    scores = Scores(halting["cell"], halting["exact"], n)
    found = Halting(scores, halting["mean_steps"], halting["lost"], halting["lost_error"])
    rule = Halt(halting["threshold"], halting["min_steps"], halting.get("patience", 0))
    said = halting_text(found, document["model"]["steps"], halting.get("tune") if rule == Halt() else None)
    if rule != Halt():
        whence = f" ({halting['whence']})" if halting.get("whence") else ""
        said += f": halts above {rule.threshold:g}{stayed_text(rule.patience)}{whence}"
    return [("halting", said)]
