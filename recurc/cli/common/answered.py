"""What `recurc run` says of answers: drawn, as a table, and for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurc.cli.common.drawn import draw_steps
from recurc.cli.common.grid import one_word
from recurc.cli.common.inputs import Inputs
from recurc.cli.common.output import Console

if TYPE_CHECKING:
    from recurc.models.reasoner import ReasonerConfig
    from recurc.verify.answers import Answer, SolvedAnswer

    Found = Answer | SolvedAnswer

MOST_DRAWN = 4  # answers; of more only the table is printed


def answer_document(found: Found, inputs: Inputs, i: int, vocab: int, symbols: str) -> dict[str, Any]:
    """An answer for JSON: its tokens, as one word ("text") too where they have symbols, and how much of it is right."""
    document: dict[str, Any] = {"number": inputs.first + i, **found.as_dict()}
    if (word := one_word(found.tokens, vocab, symbols)) is not None:
        document["text"] = word
    if inputs.labels is not None and inputs.valid is not None and inputs.valid[i].any():
        right, cells = _right(found, inputs, i)
        document |= {"right": right, "cells": cells, "exact": right == cells}
    return document


def _right(found: Found, inputs: Inputs, i: int) -> tuple[int, int]:
    assert inputs.labels is not None and inputs.valid is not None
    return int((found.tokens == inputs.labels[i])[inputs.valid[i]].sum()), int(inputs.valid[i].sum())


def _row(a: Answer) -> tuple[str, ...]:
    return str(len(a.steps)), str(a.settled), f"{a.steps[-1].margin:+.3f}", "yes" if a.halted else "no"


def _solved_row(a: SolvedAnswer) -> tuple[str, ...]:
    return str(a.steps), str(a.restarts), f"{a.margin:+.3f}", "solved" if a.solved else "unsure"


def show_answers(console: Console, found: list[Found], inputs: Inputs, config: ReasonerConfig, told: str, symbols: str) -> None:
    from recurc.verify.answers import SolvedAnswer

    console.print(told, style="bold")
    known = inputs.valid is not None and bool(inputs.valid.any())
    answered = [a for a in found if isinstance(a, SolvedAnswer)]
    if len(found) <= MOST_DRAWN:
        for i, a in enumerate(found):
            labels = None
            if known and inputs.labels is not None and inputs.valid is not None:
                labels = inputs.labels[i], inputs.valid[i]
            console.print()
            drawn = [a.tokens] if isinstance(a, SolvedAnswer) else [s.tokens for s in a.steps]
            draw_steps(console, a.input, drawn, config.vocab_size, labels, said=not answered, symbols=symbols)
    rows = []
    for i, a in enumerate(found):
        cells = ("-", "-")
        if known and inputs.valid is not None and inputs.valid[i].any():
            right, count = _right(a, inputs, i)
            cells = (f"{right}/{count}", "yes" if right == count else "no")
        said = _solved_row(a) if isinstance(a, SolvedAnswer) else _row(a)
        rows.append((str(inputs.first + i), *said, *(cells if known else ())))
    console.print()
    columns = ("input", "steps", *(("restarts", "halting margin", "answer") if answered else
                                   ("settled at", "halting margin", "stopped early")))  # fmt: skip
    console.table((*columns, *(("cells", "exact") if known else ())), rows, least=("stopped early", "settled at"))
    for a in found[: MOST_DRAWN if len(found) <= MOST_DRAWN else 0]:
        word = one_word(a.tokens, config.vocab_size, symbols)
        console.print(f"answer: {word}" if word else "answer, tokens: " + " ".join(map(str, a.tokens.tolist())))
