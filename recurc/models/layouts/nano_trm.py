"""nano-trm (github.com/olivkoch/nano-trm): TRM under Lightning, in words of its own (source: `src/nn/models/trm.py`).

A Lightning checkpoint holds `state_dict`, `hyper_parameters`, and averaged weights in the state of a callback. q_head has one
row, as it learns to stop only. Evaluation always takes all N_supervision_val steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from recurc.errors import InputError
from recurc.reading import shown

NAME = "nano-trm"

_TENSORS = {"input_embedding.embedding_weight": "embed_tokens.embedding_weight", "z_H_init": "H_init", "z_L_init": "L_init"}
_BLOCK = re.compile(r"^lenet\.layers\.")
_FIELDS = {
    "num_layers": "L_layers",
    "ffn_expansion": "expansion",
    "puzzle_emb_dim": "puzzle_emb_ndim",
    "use_mlp_t": "mlp_t",
    "num_puzzles": "num_puzzle_identifiers",
}
_POSITIONS = {"1d": "rope", "2d": "rope2d-nano", "None": "none"}
_FROM_DATA = ("vocab_size", "seq_len", "num_puzzles")  # 0 until the data module tells them
# What only training reads, or what says again what others do.
_TRAINING = (
    "learning_rate", "learning_rate_emb", "weight_decay", "warmup_steps", "lr_min_ratio", "use_muon", "batch_size",
    "pad_value", "output_dir", "max_grid_size", "N_supervision", "N_supervision_val", "pos_emb_type", "use_conv_swiglu",
    "use_board_swiglu", "forward_dtype", "_target_", "_recursive_",
)  # fmt: skip


def recognises(names: Iterable[str]) -> bool:
    """A block `lenet`, which nobody else has."""
    return any(_BLOCK.match(name) for name in names)


def tensor_name(name: str) -> str:
    """The reference's name of a tensor."""
    return _TENSORS.get(name) or _BLOCK.sub("L_level.layers.", name)


def fields(raw: Mapping[str, object], where: str) -> dict[str, object]:
    """`hyper_parameters` in the reference's words; anything that is no configuration of nano-trm as it is.

    Raises:
        InputError: a model with convolutions, or positions of a kind that nano-trm does not have.
    """
    if not ({"ffn_expansion", "num_layers"} & set(raw)):
        return dict(raw)
    for switch, what in (("use_conv_swiglu", "over the rows"), ("use_board_swiglu", "on the board")):
        if raw.get(switch):
            raise InputError(
                "this model variant is not supported", where=where, why=f"{switch} puts a convolution {what} into the SwiGLU",
                next=f"Train with {switch}: false",
            )  # fmt: skip
    found = {_FIELDS.get(name, name): value for name, value in raw.items()
             if name not in _TRAINING and not (name in _FROM_DATA and value == 0)}  # fmt: skip
    steps = [raw[name] for name in ("N_supervision_val", "N_supervision") if raw.get(name) is not None]
    if steps:
        found["halt_max_steps"] = steps[0]
    if "pos_emb_type" in raw:
        told = raw["pos_emb_type"]
        if str(told) not in _POSITIONS:
            raise InputError(
                "these position encodings are not supported", where=where,
                why=f"pos_emb_type is {shown(told)}, and nano-trm has 1d, 2d and null", next="Correct pos_emb_type",
            )  # fmt: skip
        found["pos_encodings"] = _POSITIONS[str(told)]
    return found
