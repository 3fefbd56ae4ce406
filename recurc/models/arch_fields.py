"""The fields that configurations of TRM and HRM have, and what to say of any other.

A field that the original code does not have may be misspelt, or may be a switch of somebody's own that changes what the network
computes. Either way it is named.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from recurc.reading import shown

# What decides the network and its depth. Two sources that disagree on one of these are not of one model.
MODEL_FIELDS = (
    "name", "seq_len", "vocab_size", "num_puzzle_identifiers", "hidden_size", "expansion", "num_heads", "mlp_t", "H_layers",
    "L_layers", "H_cycles", "L_cycles", "halt_max_steps", "pos_encodings", "puzzle_emb_ndim", "puzzle_emb_len", "rms_norm_eps",
    "rope_theta",
)  # fmt: skip
# What the original has too, and what does not change what a trained model computes.
_OTHER_FIELDS = (
    "arch_name",
    "format",
    "notes",
    "weights_sha256",
    "fields_sha256",
    "loss",
    "batch_size",
    "forward_dtype",
    "halt_exploration_prob",
    "no_ACT_continue",
    "puzzle_emb_lr",
    "puzzle_emb_batch",
    "puzzle_emb_weight_decay",
    "lora_alpha",
    "lora_rank",
    "lora_dropout",
)
# What stands beside the architecture in the files of the original's training, and in those of model hubs.
_TRAINING_FIELDS = (
    "data_paths", "data_paths_test", "data_path", "evaluators", "global_batch_size", "epochs", "lr", "lr_min_ratio",
    "lr_warmup_steps", "weight_decay", "beta1", "beta2", "project_name", "run_name", "load_checkpoint", "load_strict",
    "checkpoint_path", "checkpoint_every_eval", "seed", "eval_interval", "min_eval_interval", "eval_save_outputs", "ema",
    "ema_rate", "freeze_weights", "architectures", "model_type", "torch_dtype", "dtype", "transformers_version",
    "_name_or_path", "auto_map", "library_name", "pipeline_tag", "license", "tags", "hydra", "defaults",
)  # fmt: skip
_LISTED = 12  # unknown fields that a note names
# Other projects' words for the same.
_SYNONYMS = {
    "num_attention_heads": "num_heads", "n_heads": "num_heads", "n_head": "num_heads", "heads": "num_heads",
    "max_halt_steps": "halt_max_steps", "max_steps": "halt_max_steps", "halt_steps": "halt_max_steps",
    "n_supervision": "halt_max_steps", "supervision_steps": "halt_max_steps",
    "hidden_dim": "hidden_size", "d_model": "hidden_size", "dim": "hidden_size", "embed_dim": "hidden_size",
    "num_layers": "L_layers", "n_layers": "L_layers", "num_hidden_layers": "L_layers",
    "h_cycle": "H_cycles", "l_cycle": "L_cycles", "n_h_cycles": "H_cycles", "n_l_cycles": "L_cycles",
    "ffn_expansion": "expansion", "mlp_ratio": "expansion", "pos_emb_type": "pos_encodings",
    "position_encoding": "pos_encodings", "positional_encoding": "pos_encodings", "pos_encoding": "pos_encodings",
    "use_mlp_t": "mlp_t", "puzzle_emb_dim": "puzzle_emb_ndim", "sequence_length": "seq_len", "max_seq_len": "seq_len",
}  # fmt: skip
# Switches of forks, with the values that mean the original's behaviour.
_SWITCHES: dict[str, tuple[object, ...]] = {
    "causal": (False, None), "activation": ("silu", "swiglu", "swish"), "hidden_act": ("silu", "swiglu", "swish"),
    "norm_position": ("post",), "pre_norm": (False,), "prenorm": (False,), "post_norm": (True,), "norm": ("rms", "rmsnorm"),
    "norm_type": ("rms", "rmsnorm"), "bias": (False,), "use_bias": (False,), "dropout": (0, 0.0), "qk_norm": (False,),
    "tie_embeddings": (False,), "tie_word_embeddings": (False,), "use_conv_swiglu": (False,), "use_board_swiglu": (False,),
}  # fmt: skip


def nearest_field(name: str, cutoff: float = 0.6) -> str | None:
    """The known field that a name most likely means, None when none is near."""
    plain = name.strip().lower().replace("-", "_")
    lower = {field.lower(): field for field in MODEL_FIELDS}
    if plain in _SYNONYMS:
        return _SYNONYMS[plain]
    near = difflib.get_close_matches(plain, lower, n=1, cutoff=cutoff)
    return lower[near[0]] if near else None


def unknown_notes(fields: Mapping[str, object], where: str, section: bool, given: Mapping[str, object]) -> list[str]:
    """A note for each field that the original code does not have.

    Args:
        fields: as the file has them.
        where: the file.
        section: whether they are a section of the architecture alone (`arch`), where each is a note. Else fields of training
            stand among them: what is near a known one or known to change the network is a note, the rest one list.
        given: all fields of the architecture that are known from this file, to say which ones are missing.
    """
    known = {*MODEL_FIELDS, *_OTHER_FIELDS} | (set() if section else set(_TRAINING_FIELDS))
    notes, rest = [], []
    for name, value in fields.items():
        if name in known or value is None:
            continue
        switch = _SWITCHES.get(name.lower())
        if switch is not None:
            if not any(value == same and isinstance(value, bool) == isinstance(same, bool) for same in switch):
                notes.append(
                    f"{where}: {name} is {shown(value)}, which the original code does not have: it is not used. If "
                    "the code that trained this model computes something else for it, this is a wrong model"
                )
            continue
        near = nearest_field(name, 0.6 if section else 0.82)
        if near is None and not section:
            rest.append(shown(name).strip("'"))
            continue
        text = f"{where}: the field {shown(name)} ({shown(value)}) is unknown and not used"
        if near is not None:
            text += f"; the nearest known one is {near}" + (", which is missing" if given.get(near) is None else "")
        notes.append(text)
    if rest:
        more = f" and {len(rest) - _LISTED} more" if len(rest) > _LISTED else ""
        notes.append(f"{where}: fields that recurc does not know and does not use: {', '.join(rest[:_LISTED])}{more}")
    return notes


def differences(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """The fields of the model that both have with other values, sorted."""
    return sorted(name for name in MODEL_FIELDS if name in a and name in b and _plain(name, a[name]) != _plain(name, b[name]))


def _plain(name: str, value: object) -> object:
    """A value in one form, whoever wrote it: 2, 2.0 and "2" are one number."""
    if name == "name":
        return _family(str(value))
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)):
        return float(value) if abs(value) < 2**53 else value
    text = str(value).strip()
    words = {"true": 1.0, "yes": 1.0, "on": 1.0, "false": 0.0, "no": 0.0, "off": 0.0}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return text


def _family(arch_name: str) -> str:
    """Names that mean one family are one; the class alone does not tell, as ablations share it."""
    from recurc.models import families

    module, _, kind = arch_name.partition("@")
    for family in families().values():
        if any(
            (module.rsplit(".", 1)[-1], kind) == (m.rsplit(".", 1)[-1], k)
            for m, _, k in (a.partition("@") for a in family.ARCH_NAMES)
        ):
            return family.NAME
    return arch_name
