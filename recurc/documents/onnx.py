"""What `recurc verify --on onnxruntime --json` writes."""

from __future__ import annotations

from typing import Literal, TypedDict

from recurc.documents.shares import Shares


class OnnxAgreement(TypedDict):
    """How far onnxruntime's carry is from the engine's: `puzzles` stay within the tolerance, `answers_equal`
    have every token."""

    of: str
    measure: str
    tolerance: float
    worst: float
    puzzles: int
    answers_equal: int
    tokens_differing: int
    tokens_compared: int


class OnnxPuzzleEntry(TypedDict):
    """One puzzle: largest 1 - cosine of z_H and largest difference of an element, tokens that differ in all steps
    and at last."""

    puzzle: int
    steps: int
    distance: float
    largest: float
    tokens_differing: int
    answer_differing: int
    right: int
    cells: int


class OnnxVerifyDocument(Shares):
    """`recurc verify --on onnxruntime`: whether the exported model computes what the host engine does, to rounding."""

    on: Literal["onnxruntime"]
    n: int
    offset: int
    bit_exact: Literal[False]
    matched: int
    agreement: OnnxAgreement
    tolerance: float
    precision: str
    first_difference: None
    target: str
    puzzles: list[OnnxPuzzleEntry]
