"""Whether a form of the puzzles is equivalent, as far as labelled data can tell: labels must map to labels.

No data holds every puzzle, so a form cannot be looked up. But answers obey laws: a token that never stands in a cell, two cells
that are never alike, an input token that never becomes another. A law that all labels obey, although chance would have broken
it many times, must hold for their other form too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurc.errors import InputError
from recurc.symmetries.symmetry import Symmetry

EXPECTED = 20.0  # times that chance alone would have broken a law; by Poisson, none of 20 is one in 500 million
MOST = 4096  # examples that are looked at
LEAST = 256  # labelled examples: fewer refute little, and what they do not refute is not thereby true
_CELLS = 1024  # more cells than this: pairs of them are not compared


@dataclass(frozen=True)
class Laws:
    """What labelled examples never do. Boolean arrays, True where something that chance would do is never seen.

    tokens: [seq, vocab] a label token in a cell. unlike: [seq, seq] two cells with the same label. answers: [vocab, vocab] an
    input token that has a label token. `inputs`, `labels`: the examples [N, seq]; `ignored`: True where a cell has no label.
    """

    tokens: NDArray[np.bool_]
    unlike: NDArray[np.bool_]
    answers: NDArray[np.bool_]
    inputs: NDArray[np.integer]
    labels: NDArray[np.integer]
    ignored: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: NDArray[np.integer], labels: NDArray[np.integer], ignored: NDArray[np.bool_], vocab: int) -> Laws:
        """The laws of examples [N, seq]; `ignored` [N, seq]: cells without a label."""
        inputs, labels, ignored = inputs[:MOST], labels[:MOST], ignored[:MOST]
        seq, kept = inputs.shape[1], ~ignored
        hot = np.zeros((len(labels), seq, vocab), dtype=np.float32)
        np.put_along_axis(hot, np.where(ignored, 0, labels)[..., None].astype(np.intp), 1.0, axis=2)
        hot *= kept[..., None]
        counts = hot.sum(axis=0)
        present = counts.sum(axis=1)
        share = counts / np.maximum(present, 1)[:, None]
        overall = counts.sum(axis=0) / max(counts.sum(), 1)
        tokens = (counts == 0) & (present[:, None] * overall >= EXPECTED)
        unlike = np.zeros((seq, seq), dtype=bool)
        if seq <= _CELLS:
            flat = hot.transpose(1, 0, 2).reshape(seq, -1)
            together = kept.T.astype(np.float32) @ kept.astype(np.float32)
            unlike = (flat @ flat.T == 0) & (together * (share @ share.T) >= EXPECTED)
        pairs = np.zeros((vocab, vocab))
        np.add.at(pairs, (inputs[kept], labels[kept]), 1)
        answers = (pairs == 0) & (pairs.sum(axis=1)[:, None] * overall >= EXPECTED)
        return cls(tokens, unlike, answers, inputs, labels, ignored)

    @property
    def any(self) -> bool:
        """Whether the examples are enough to tell: without laws, or of few, they refute nothing."""
        enough = (~self.ignored).any(axis=1).sum() >= LEAST
        return bool(enough and (self.tokens.any() or self.unlike.any() or self.answers.any()))

    def broken(self, symmetry: Symmetry) -> str:
        """How the other form of some example breaks a law, as a clause that names it; "" where none does."""
        inputs = symmetry.present(self.inputs)
        labels = symmetry.present(np.where(self.ignored, 0, self.labels))  # a cell without a label may hold any number
        kept = ~self.ignored[:, symmetry.cells]
        wrong = kept & self.answers[inputs, labels]
        if wrong.any():
            example, cell = np.argwhere(wrong)[0]
            return (f"example {example} gets the answer {labels[example, cell]} where its input has {inputs[example, cell]}, "
                    f"which no answer of the data does (cell {cell})")  # fmt: skip
        wrong = kept & self.tokens[np.arange(labels.shape[1]), labels]
        if wrong.any():
            example, cell = np.argwhere(wrong)[0]
            return f"example {example} gets {labels[example, cell]} in cell {cell}, where no answer of the data has it"
        for a, b in np.argwhere(np.triu(self.unlike, 1)):
            wrong_pair = kept[:, a] & kept[:, b] & (labels[:, a] == labels[:, b])
            if wrong_pair.any():
                example = int(np.argmax(wrong_pair))
                return f"example {example} gets {labels[example, a]} in cells {a} and {b}, alike in no answer of the data"
        return ""


def check(symmetries: tuple[Symmetry, ...], laws: Laws, name: str) -> None:
    """Whether labelled examples allow these forms.

    Raises:
        InputError: one of them breaks a law of the answers; the counterexample is named.
    """
    for number, symmetry in enumerate(symmetries, 1):
        if why := laws.broken(symmetry):
            raise InputError("the data contradicts the symmetry", where=name, why=f"in form {number}, {why}",
                             next="Name the symmetry that these puzzles have, or none")  # fmt: skip
