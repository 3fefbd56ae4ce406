"""Hierarchical Reasoning Model: two blocks, H_level and L_level, one for each state.

Sources: HRM, `models/hrm/hrm_act_v1.py`, and the copy in TinyRecursiveModels, `models/recursive_reasoning/hrm.py`. The copy
computes the same, and knows two more variants: token mixing by an MLP (`mlp_t`), and no position encodings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from recurc.arguments import argument
from recurc.errors import InputError
from recurc.models.common_fields import (
    MAX_ROWS,
    complete,
    layers_field,
    mixer_field,
    positions,
    puzzle_fields,
    sizes,
    told_length,
)
from recurc.models.fields import Fields
from recurc.models.reasoner import ReasonerConfig
from recurc.models.shapes import first_axis, model_tensors
from recurc.models.two_states import two_states
from recurc.recursion import Depth, Recursion

Shape = tuple[int, ...]

NAME = "hrm"
_ORIGINAL = "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1"
# The copy comes first: it is what a converted checkpoint is called, and it can be every variant.
ARCH_NAMES = ("recursive_reasoning.hrm@HierarchicalReasoningModel_ACTV1", _ORIGINAL)

HALT_RULE = "q_halt>q_continue"
PUBLISHED_CYCLES = (2, 2)


def recognises(names: Iterable[str]) -> bool:
    """Two blocks, `H_level` and `L_level`."""
    names = list(names)
    return all(any(n.startswith(f"{level}.layers.") for n in names) for level in ("H_level", "L_level"))


def expected_tensors(config: ReasonerConfig) -> dict[str, Shape]:
    """Name -> shape of every tensor of an HRM checkpoint (39 of them at four layers a block with a puzzle embedding)."""
    return model_tensors(config)


def recursion(config: ReasonerConfig, depth: Depth) -> Recursion:
    """A block for each state."""
    return two_states(config, depth, "H_level")


def config_from_fields(
    fields: Mapping[str, object], shapes: Mapping[str, Shape], where: str = "configuration"
) -> tuple[ReasonerConfig, list[str]]:
    """Configuration of an HRM checkpoint. HRM has no `puzzle_emb_len`: there are as many puzzle rows as the embedding fills.

    Args:
        fields: the original's fields, as far as they are known (`seq_len` stands in the dataset's `dataset.json`).
            `data_seq_len` is the length of a dataset that was only found nearby: used where nothing else tells it.
            `name` is `arch.name`: the original code has fewer variants than its copy.
        shapes: tensor name -> shape.
        where: the file the fields come from, for messages.

    Returns:
        The configuration and one note for each thing that was assumed.

    Raises:
        InputError: fields of the wrong kind or out of range, configuration and tensors that disagree, a variant that the
            original code does not have, or a sequence length that nothing tells.
    """
    f = Fields(fields, where)
    notes: list[str] = []
    mixer = mixer_field(f, shapes)
    hidden, vocab = sizes(f, shapes)
    ndim, puzzle_len, identifiers = puzzle_fields(f, shapes)
    _check_variant(f, mixer)
    pos = positions(f, shapes, mixer, notes)
    rows = -(-ndim // hidden)
    if puzzle_len not in (None, 0, rows):
        notes.append(f"puzzle_emb_len {puzzle_len} is ignored, as HRM does: puzzle_emb_ndim {ndim} takes {rows} rows")
    config = complete(
        NAME, f, shapes, notes, recipe=PUBLISHED_CYCLES, mixer=mixer, pos_encodings=pos, hidden_size=hidden,
        vocab_size=vocab, seq_len=_length(f, shapes, mixer, pos, rows, notes), puzzle_emb_ndim=ndim, puzzle_emb_len=0,
        num_puzzle_identifiers=identifiers, L_layers=layers_field(f, shapes, "L_layers", "L_level"),
        H_layers=layers_field(f, shapes, "H_layers", "H_level"), halt_rule=HALT_RULE,
    )  # fmt: skip
    return config, notes


def _check_variant(f: Fields, mixer: str) -> None:
    """The original HRM code attends, with rope or learned positions; anything else it refuses to build.

    Raises:
        InputError: `arch.name` is that code's, and the variant is not.
    """
    if (f.text("name") or "").rsplit(".", 1)[-1] != _ORIGINAL.rsplit(".", 1)[-1]:
        return
    told = f.text("pos_encodings")
    wrong = "mlp_t" if mixer == "mlp_t" else "pos_encodings" if told not in (None, "rope", "learned") else None
    if wrong:
        raise InputError(
            "the original HRM code cannot run this configuration",
            where=f.where,
            why=f"it has attention with pos_encodings rope or learned, and here {wrong} is {f.text(wrong)}",
            next=f"Correct {wrong}; a model of the TRM repository's copy of HRM has arch.name {ARCH_NAMES[0]}",
        )


def _length(
    f: Fields, shapes: Mapping[str, Shape], mixer: str, pos: str, rows: int, notes: list[str]
) -> int:  # fmt: skip
    """seq_len: what the tensors' positions leave beside `rows` puzzle rows, else what the configuration or a dataset tells."""
    total: int | None = None
    if mixer == "mlp_t":
        total = first_axis(shapes, ("*.mlp_t.gate_up_proj.weight", 1), ("*.mlp_t.down_proj.weight", 0))
    if total is None and pos == "learned":
        total = first_axis(shapes, ("embed_pos.embedding_weight", 0))
    seq_len, nearby = f.integer("seq_len", 1, MAX_ROWS), f.integer("data_seq_len", 1, MAX_ROWS)
    if total is None:
        return told_length(seq_len, nearby, f, notes)
    if total <= rows or seq_len not in (None, total - rows):
        raise InputError(
            "configuration and tensors disagree on the sequence length",
            where=f.where,
            why=f"the tensors have {total} positions, of which the puzzle embedding takes {rows}"
            + (f", and the sequence has {seq_len}" if seq_len else ""),
            next="Put the all_config.yaml that belongs to this checkpoint beside it, or pass its dataset with "
            + argument("data", "DIR"),
        )
    return total - rows
