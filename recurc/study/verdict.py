"""What a study says, in sentences that follow from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recurc.arguments import argument
from recurc.quant.weights import precisions
from recurc.study import methods as m
from recurc.study.study import Row

TOLERANCE = 0.02
_RUIN = 0.1  # destroyed: less than this share of fp32's puzzles is left


def verdict(rows: Sequence[Row], tolerance: float = TOLERANCE, mixer: str = "mlp_t", learning: int = 0) -> list[str]:
    """Findings about the rows of a study, whose first is fp32, a paragraph each.

    A method keeps the model when its loss of exact is within `tolerance`. Beyond it, and beyond two standard errors, it
    damages the model, or destroys it when surely, two standard errors counted in, less than a tenth of fp32's puzzles is left.
    What is beyond `tolerance` alone stays open. Methods that train are told apart: what they leave is a matter of how long.

    Args:
        mixer: of the model. learning: number of puzzles that methods learned from.
    """
    fp32, rest = rows[0].outcome, [r for r in rows[1:] if not r.method.updates]
    said = [f"fp32 solves {_share(rows[0])} of {fp32.n} puzzles completely after {fp32.steps} supervision steps."]
    if len(rows) == 1:
        return said
    if fp32.exact <= tolerance:  # even what solves nothing would be within it
        worst = min(rows[1:], key=lambda r: r.outcome.phi_first if r.outcome.phi_first == r.outcome.phi_first else np.inf)
        return said + [
            f"With no more than {100 * tolerance:g} points to lose, accuracy tells no method from another; phi "
            f"after one step is lowest with {worst.method.name}, {worst.outcome.phi_first:.3f}."
        ]
    kept, unclear, hurt, dead = sorted_out([rows[0], *rest], tolerance)
    if kept:
        said.append(_kept(kept, tolerance))
    if unclear:
        said.append(
            f"Open: {_names(unclear)} {_verb(unclear, 'loses', 'lose')} more than {100 * tolerance:g} points, though "
            f"no more than two standard errors, which chance explains; more puzzles ({argument('limit')}) must tell."
        )
    if hurt:
        worst = max(hurt, key=lambda r: r.loss)
        most = (
            f" Most is lost with {worst.method.name}, {100 * worst.loss:.1f} ± {100 * _error(worst):.1f} points."
            if len(hurt) > 1
            else ""
        )
        said.append(f"Damaged: with {_names(hurt)} more is lost than {100 * tolerance:g} points and two standard errors.{most}")
    if dead:
        hidden = max(dead, key=lambda r: r.outcome.cell)
        said.append(
            f"Destroyed: {_names(dead)} {_verb(dead, 'leaves', 'leave')} surely less than a tenth of the puzzles that "
            f"fp32 solves. Cells hide it: with {hidden.method.name} {100 * hidden.outcome.cell:.1f} % of them are "
            "right."
        )
    said += _repaired([*hurt, *dead], rows[0], tolerance)
    by = {r.method.name: r for r in rows}
    said += [*_weights(by), *_activations(by, mixer), *_learned(rows), *_training(by, tolerance, learning)]
    built = {name for name, p in precisions().items() if not p.lossy}  # without a further word
    small = sorted(
        (r for r in kept if r.engine == "device" and r.method.precision in built and r.fits(4 << 20)),
        key=lambda r: (r.outcome.bytes, -r.outcome.phi_first),
    )
    if small:
        said.append(
            f"The smallest that keeps it and that the device's own code runs is {small[0].method.name}, "
            f"{small[0].outcome.bytes:,} bytes."
        )
    return said


def _repaired(hurt: Sequence[Row], fp32: Row, tolerance: float) -> list[str]:
    """Which damage is repaired where a puzzle that is not solved is asked again in another form; "" where nobody asked."""
    full = fp32.outcome.asked
    if full is None or not hurt:
        return []
    mended: list[str] = []
    left: list[str] = []
    for row in hurt:
        asked = row.outcome.asked
        if asked is not None:
            most = max(tolerance, 2 * np.hypot(asked.scores.exact_error, full.scores.exact_error))
            within = full.scores.exact - asked.scores.exact <= most
            (mended if within else left).append(f"{row.method.name} ({_share(row)} to {100 * asked.scores.exact:.1f} %)")
    said = f"Asked again, fp32 solves {100 * full.scores.exact:.1f} % in {full.mean_steps:.2f} steps on average."
    if mended:
        said += f" Of the damages this repairs {', '.join(mended)}: as much is solved as with fp32, within two standard errors."
    if left:
        said += f" Not repaired: {', '.join(left)}."
    return [said]


def _kept(kept: Sequence[Row], tolerance: float) -> str:
    error, n = max(_error(r) for r in kept), kept[0].outcome.n
    if error > tolerance:
        return (
            f"No loss of more than {100 * tolerance:g} points is seen with {_names(kept)}; but {n} puzzles leave a "
            f"standard error of up to {100 * error:.1f} points, so more of them ({argument('limit')}) must tell."
        )
    return (
        f"Kept: {_names(kept)} {_verb(kept, 'loses', 'lose')} at most {100 * tolerance:g} points of puzzles exact "
        f"(standard error up to {100 * error:.1f})."
    )


def sorted_out(rows: Sequence[Row], tolerance: float = TOLERANCE) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """(kept, open, damaged, destroyed) of all rows but the first, fp32."""
    kept: list[Row] = []
    unclear: list[Row] = []
    hurt: list[Row] = []
    dead: list[Row] = []
    for r in rows[1:]:
        if r.loss <= tolerance:
            kept.append(r)
        elif r.loss <= 2 * _error(r):
            unclear.append(r)
        else:
            (dead if _at_most(r) < _RUIN * rows[0].outcome.exact else hurt).append(r)
    return kept, unclear, hurt, dead


def _error(row: Row) -> float:
    """Standard error of a loss: that no puzzle of a few differs is no certainty, so at least that of one."""
    return max(row.loss_se, 1 / row.outcome.n)


def _at_most(row: Row) -> float:
    """The share of puzzles exact that is likely to be left at most: the upper end of Wilson's interval of two standard
    errors."""
    p, n, z = row.outcome.exact, row.outcome.n, 2.0
    return float((p + z * z / (2 * n) + z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n))


def beside_outliers(rows: Sequence[Row], copy: Sequence[Row], tolerance: float = TOLERANCE) -> list[str]:
    """Sentences about the checkpoint's rows and those of its outlier copy, the same function in fp32."""
    said = [
        "The outlier copy computes the same function in fp32"
        + (
            " and scores the same."
            if rows[0].outcome.exact == copy[0].outcome.exact
            else f", but scores {_share(copy[0])} instead of {_share(rows[0])}."
        )
    ]
    if rows[0].outcome.exact <= tolerance:
        return said + ["Accuracy tells the two no further apart where there is next to nothing to lose."]
    theirs = {r.method.name: r for r in copy}
    told = [
        f"{r.method.name} {_share(r)} and {_share(theirs[r.method.name])}"
        for r in rows[1:]
        if r.method.name in theirs and abs(_gain(theirs[r.method.name], r)[0]) > _bar(theirs[r.method.name], r)
    ]
    if told:
        said.append(f"Differences beyond two standard errors (checkpoint and copy): {'; '.join(told)}.")
    else:
        said.append("No method treats it otherwise than the checkpoint, beyond two standard errors.")
    return said


def _names(rows: Sequence[Row]) -> str:
    words = [f"{r.method.name} ({_share(r)})" for r in rows]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _verb(rows: Sequence[Row], one: str, many: str) -> str:
    return one if len(rows) == 1 else many


def _share(row: Row) -> str:
    return f"{100 * row.outcome.exact:.1f} %"


def _gain(row: Row, other: Row) -> tuple[float, float]:
    """(exact of a row over another's, standard error on the same puzzles)."""
    return other.outcome.loss(row.outcome)


def _bar(row: Row, other: Row) -> float:
    return 2 * _gain(row, other)[1]


def _versus(row: Row, other: Row) -> str:
    """How a row compares with another: a signed difference, and whether it is beyond two standard errors."""
    gain, error = _gain(row, other)
    return f"{100 * gain + 0.0:+.1f} ± {100 * error:.1f} points" + ("" if abs(gain) > 2 * error else ", within the error")


def _weights(by: Mapping[str, Row]) -> list[str]:
    if not {m.NAIVE, m.FINE} <= by.keys():
        return []
    naive, fine = by[m.NAIVE], by[m.FINE]
    return [f"Naive int4 leaves {_share(naive)}, calibrated int4 {_share(fine)}: {_versus(fine, naive)}."]


def _activations(by: Mapping[str, Row], mixer: str) -> list[str]:
    said = []
    if {m.ROWS8, m.STATIC} <= by.keys():
        peer = f" (onnxruntime's own static pipeline: {_share(by[m.PEER_STATIC])})" if m.PEER_STATIC in by else ""
        said.append(
            f"With int8 weights, int8 activations with a scale a row leave {_share(by[m.ROWS8])}, with static scales "
            f"{_share(by[m.STATIC])}{peer}: {_versus(by[m.STATIC], by[m.ROWS8])}."
        )
    if {m.ROW4, m.BLOCK4} <= by.keys():
        what = "an MLP" if mixer == "mlp_t" else "attention"
        both = f"; with weights in such blocks too {_share(by[m.ALL4])}" if m.ALL4 in by else ""
        said.append(
            f"Mixing tokens by {what}, int4 activations with a scale a row leave {_share(by[m.ROW4])}, in blocks of 32 "
            f"{_share(by[m.BLOCK4])}{both}."
        )
    return said


def _learned(rows: Sequence[Row]) -> list[str]:
    """What methods that train leave: no verdict on them, where another training may end otherwise."""
    trained = [r for r in rows[1:] if r.method.updates]
    if not trained:
        return []
    listed = ", ".join(f"{r.method.name} {_share(r)} ({_updates(r)})" for r in trained)
    short = any(r.method.updates < _usual(r) for r in trained)
    little = "so short a training is no test of a method" if short else "longer training on more puzzles may end elsewhere"
    return [f"Trained here: {listed}. That is what these updates came to; {little}."]


def _usual(row: Row) -> int:
    """Updates that a method has when nobody asks for others."""
    return next((known.updates for known in m.METHODS if known.name == row.method.name), row.method.updates)


def _updates(row: Row) -> str:
    done, usual = row.method.updates, _usual(row)
    return f"{done} updates" if done >= usual else f"{done} of its usual {usual} updates"


def _training(by: Mapping[str, Row], tolerance: float, learning: int) -> list[str]:
    said = []
    aware = [by[name] for name in m.QAT if name in by]
    if aware and m.NAIVE in by:
        naive, best, fp32 = by[m.NAIVE], max(aware, key=lambda r: r.outcome.exact), by[m.FP32.name]
        gain, error = _gain(best, naive)
        kept, unclear, _, _ = sorted_out([fp32, naive, best], tolerance)
        if naive in kept + unclear:
            what = "finds no loss beyond the error to repair"
            what += ", and costs" if gain < -2 * error else ""
        elif gain <= 2 * error:
            what = "makes naive int4 worse" if gain < -2 * error else "does not repair naive int4"
            what += " so far" if best.method.updates < _usual(best) else ""
        else:
            what = "repairs naive int4" if best in kept + unclear else "repairs part of what naive int4 loses"
        control = f"; training without the quantizer leaves {_share(by[m.CONTROL])}" if m.CONTROL in by else ""
        said.append(
            f"Training with the quantizer in the loop {what}: from {_share(naive)} to {_share(best)} with "
            f"{best.method.name}, {_versus(best, naive)}, {_updates(best)}{control}."
        )
    over = [r for r in by.values() if r.losses and _overfits(r, by[m.FP32.name])]
    if over:
        listed = ", ".join(
            f"{r.method.name} (lost to fp32: {100 * _seen_loss(r, by[m.FP32.name])[0]:.1f} points of those, "
            f"{100 * r.loss:.1f} of the test puzzles)"
            for r in over
        )
        said.append(
            f"The {learning} puzzles learned from come off better than the test puzzles, beyond two standard errors, "
            f"with {listed}: with more puzzles ({argument('learning', option='train')}) the result may be another."
        )
    return said


def _seen_loss(row: Row, fp32: Row) -> tuple[float, float]:
    """(exact lost to fp32 on puzzles that were learned from, its standard error)."""
    assert row.seen is not None and fp32.seen is not None
    return row.seen.loss(fp32.seen)


def _overfits(row: Row, fp32: Row) -> bool:
    """Whether a model loses less of what it learned from than of the test, beyond two standard errors of that difference.

    Losses are compared, not shares: the two splits may differ in difficulty."""
    if row.seen is None or fp32.seen is None:
        return False
    loss, error = _seen_loss(row, fp32)
    return row.loss - loss > 2 * float(np.hypot(error, row.loss_se))
