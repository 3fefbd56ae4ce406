"""What a study says, in sentences that follow from its numbers alone."""

from __future__ import annotations

from typing import Mapping, Sequence

import numpy as np

from recurc.arguments import argument
from recurc.quant.weights import precisions
from recurc.study import methods as m
from recurc.study.study import Row

TOLERANCE = 0.02
_RUIN = 0.1  # destroyed: less than this share of fp32's puzzles is left


def verdict(rows: Sequence[Row], tolerance: float = TOLERANCE, mixer: str = "mlp_t", learning: int = 0) -> list[str]:
    """Sentences about the rows of a study, whose first is fp32.

    A method keeps the model when its loss of exact is within `tolerance`. Beyond it, and beyond two standard errors, it damages
    the model, or destroys it when less than a tenth of fp32's puzzles are left. What is beyond `tolerance` alone stays open.

    Args:
        mixer: of the model. learning: number of puzzles that methods learned from.
    """
    fp32, rest = rows[0].outcome, rows[1:]
    said = [f"fp32 solves {_share(rows[0])} of {fp32.n} puzzles completely after {fp32.steps} supervision steps."]
    if not rest:
        return said
    if fp32.exact <= tolerance:  # even what solves nothing would be within it
        worst = min(rest, key=lambda r: r.outcome.phi_first if r.outcome.phi_first == r.outcome.phi_first else np.inf)
        return said + [f"With no more than {100 * tolerance:g} points to lose, accuracy tells no method from another; phi "
                       f"after one step is lowest with {worst.method.name}, {worst.outcome.phi_first:.3f}."]
    kept, unclear, hurt, dead = sorted_out(rows, tolerance)
    if kept:
        error = max(r.loss_se for r in kept)
        said.append(f"Kept, a loss of at most {100 * tolerance:g} points (standard error up to {100 * error:.1f}): "
                    f"{_names(kept)}.")
    if unclear:
        said.append(f"Open, a larger loss but within two standard errors, so that more puzzles must tell: {_names(unclear)}.")
    if hurt:
        worst = max(hurt, key=lambda r: r.loss)
        said.append(f"Damaged: {_names(hurt)}; most by {worst.method.name}, {100 * worst.loss:.1f} points.")
    if dead:
        hidden = max(dead, key=lambda r: r.outcome.cell)
        said.append(f"Destroyed, less than a tenth of the puzzles left: {_names(dead)}. Of these {hidden.method.name} still "
                    f"gets {100 * hidden.outcome.cell:.1f} % of the cells right, with {_share(hidden)} of the puzzles.")
    by = {r.method.name: r for r in rows}
    said += [*_weights(by), *_activations(by, mixer), *_training(by, tolerance, learning)]
    built = {name for name, p in precisions().items() if not p.lossy}  # without a further word
    small = sorted((r for r in kept if r.engine == "device" and r.method.precision in built and r.fits(4 << 20)),
                   key=lambda r: (r.outcome.bytes, -r.outcome.phi_first))
    if small:
        said.append(f"The smallest that keeps it and that the device's own code runs is {small[0].method.name}, "
                    f"{small[0].outcome.bytes:,} bytes.")
    return said


def sorted_out(rows: Sequence[Row], tolerance: float = TOLERANCE) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """(kept, open, damaged, destroyed) of all rows but the first, fp32."""
    kept: list[Row] = []
    unclear: list[Row] = []
    hurt: list[Row] = []
    dead: list[Row] = []
    for r in rows[1:]:
        if r.loss <= tolerance:
            kept.append(r)
        elif r.loss <= 2 * r.loss_se:
            unclear.append(r)
        else:
            (dead if r.outcome.exact < _RUIN * rows[0].outcome.exact else hurt).append(r)
    return kept, unclear, hurt, dead


def beside_outliers(rows: Sequence[Row], copy: Sequence[Row], tolerance: float = TOLERANCE) -> list[str]:
    """Sentences about the checkpoint's rows and those of its outlier copy, the same function in fp32."""
    said = ["The outlier copy computes the same function in fp32"
            + (" and scores the same." if rows[0].outcome.exact == copy[0].outcome.exact else
               f", but scores {_share(copy[0])} instead of {_share(rows[0])}.")]
    if rows[0].outcome.exact <= tolerance:
        return said + ["Accuracy tells the two no further apart where there is next to nothing to lose."]
    theirs = {r.method.name: r for r in copy}
    told = [f"{r.method.name} {_share(r)} and {_share(theirs[r.method.name])}" for r in rows[1:]
            if r.method.name in theirs and abs(_gain(theirs[r.method.name], r)[0]) > _bar(theirs[r.method.name], r)]
    if told:
        said.append(f"Differences beyond two standard errors (checkpoint and copy): {'; '.join(told)}.")
    else:
        said.append("No method treats it otherwise than the checkpoint, beyond two standard errors.")
    return said


def _names(rows: Sequence[Row]) -> str:
    words = [f"{r.method.name} ({_share(r)})" for r in rows]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


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
        said.append(f"With int8 weights, int8 activations with a scale a row leave {_share(by[m.ROWS8])}, with static scales "
                    f"{_share(by[m.STATIC])}{peer}: {_versus(by[m.STATIC], by[m.ROWS8])}.")
    if {m.ROW4, m.BLOCK4} <= by.keys():
        what = "an MLP" if mixer == "mlp_t" else "attention"
        both = f"; with weights in such blocks too {_share(by[m.ALL4])}" if m.ALL4 in by else ""
        said.append(f"Mixing tokens by {what}, int4 activations with a scale a row leave {_share(by[m.ROW4])}, in blocks of 32 "
                    f"{_share(by[m.BLOCK4])}{both}.")
    return said


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
        else:
            what = "repairs naive int4" if best in kept + unclear else "repairs part of what naive int4 loses"
        control = f"; training without the quantizer leaves {_share(by[m.CONTROL])}" if m.CONTROL in by else ""
        said.append(f"Training with the quantizer in the loop {what}: from {_share(naive)} to {_share(best)} with "
                    f"{best.method.name}, {_versus(best, naive)}, {best.method.updates} updates{control}.")
    over = [r for r in by.values() if r.losses and _overfits(r, by[m.FP32.name])]
    if over:
        listed = ", ".join(f"{r.method.name} (lost to fp32: {100 * _seen_loss(r, by[m.FP32.name])[0]:.1f} points of those, "
                           f"{100 * r.loss:.1f} of the test puzzles)" for r in over)
        said.append(f"The {learning} puzzles learned from come off better than the test puzzles, beyond two standard errors, "
                    f"with {listed}: with more puzzles ({argument('learning', option='train')}) the result may be another.")
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
