"""Changes to a working checkpoint folder after which it must load as the same model, be refused, or say what is odd.

    python -m tests.models.silent --changes 1500 --seed 2

A configuration loses, misspells, moves, doubles or gains a field; other files come to lie beside the checkpoint; tensors are
renamed, added or dropped; bundles hold a second set of weights. Whoever loads the result must not get another model, nor lose a
field that asks for another one, without a note.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from recurc.errors import RecurcError
from recurc.models.checkpoint import load, save
from recurc.models.reasoner import Reasoner
from tests.models.builders import PREFIX, arch, state_dict, write_checkpoint, write_dataset

OTHER = {  # another value of each field, that a file may hold as well
    "H_cycles": 5, "L_cycles": 5, "L_layers": 3, "num_heads": 2, "hidden_size": 64, "expansion": 2, "halt_max_steps": 7,
    "pos_encodings": "learned", "mlp_t": "?", "puzzle_emb_ndim": 64, "puzzle_emb_len": 7, "rope_theta": 77.0,
    "rms_norm_eps": 1e-3, "H_layers": 3,
}  # fmt: skip
SWITCHES = {  # what forks of the code call what changes the network
    "activation": "gelu", "act": "gelu", "hidden_act": "relu", "causal": True, "is_causal": True, "norm_position": "pre",
    "norm_first": True, "norm_style": "pre", "pre_norm": True, "norm_eps": 1e-3, "eps": 1e-3, "layer_norm_eps": 1e-3,
    "rope_base": 500.0, "theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2}, "num_kv_heads": 1, "lora_rank": 4,
    "num_key_value_heads": 2, "sliding_window": 4, "softmax_temp": 2.0, "residual_scale": "fixed", "embed_scale": 1.0,
    "qk_norm": True, "tie_embeddings": True, "conv_type": "conv1d", "attn_bias": True, "use_rope": False, "rotary_pct": 0.5,
    "head_dim": 16, "mlp_type": "relu2", "gated": False, "damping": 0.5, "lambda_": 0.95, "noise_scale": 0.1, "loops": 4,
    "H_init_std": 1.0, "single_state": True, "num_steps": 9, "alibi": True, "parallel": True, "share_layers": True,
    "norm_affine": True, "pos_emb": "2d", "rope_2d": True, "board_width": 3, "logit_softcap": 30.0, "expansion_factor": 3,
}  # fmt: skip
SECTIONS = ("model", "network", "config", "hparams", "hyper_parameters", "params")
FILES = ("config.json", "config.yaml", "config.yml", "all_config.yaml", "all_config.yml", "all_config.json", "hparams.yaml",
         "params.json", "args.json", "model_config.json", ".hydra/config.yaml")  # fmt: skip
WRONG = ("", "two", [2], {"a": 1}, -1, 2.5, 1e9, "010", "0x2", "2_0", "~", float("inf"), "2 3", "1e999")
TENSORS = ("L_level.layers.0.norm1.weight", "L_level.layers.2.mlp.down_proj.weight", "H_level.layers.0.mlp.down_proj.weight",
           "embed_pos.embedding_weight", "final_norm.weight", "alpha", "L_level.conv.weight", "lm_head.bias",
           "L_level.layers.0.mlp.down_proj._lora_A", "L_level.layers.0.mlp.down_proj.bias")  # fmt: skip
AVERAGES = ("ema", "ema_state_dict", "model_ema", "shadow", "swa", "averaged_model", "ema_model")


@dataclass
class Folder:
    """A checkpoint folder: how its configuration is kept, and the weights in it."""

    path: Path
    style: str  # "original", "flat": a plain config.json, "converted": recurc's own
    name: str
    weights: dict[str, torch.Tensor]

    @property
    def file(self) -> Path:
        return self.path / ("all_config.yaml" if self.style == "original" else "config.json")

    def document(self) -> dict:
        return yaml.safe_load(self.file.read_text()) if self.style == "original" else json.loads(self.file.read_text())

    def write(self, document: dict) -> None:
        write_config(self.file, document)

    def fields(self, document: dict) -> dict:
        return document["arch"] if self.style == "original" else document


def write_config(path: Path, document: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document) if path.suffix == ".json" else yaml.dump(document))


def make(r: random.Random, path: Path) -> Folder:
    """A folder that loads without a word about its fields."""
    style, name = r.choice(("original", "original", "flat", "converted")), r.choice(("step_1000", "step_1000", "net.pt"))
    mixing = {"mlp_t": True, "pos_encodings": "none"} if r.random() < 0.4 else {}
    told = {"rope_theta": 10000.0, "rms_norm_eps": 1e-5} if r.random() < 0.3 else {}
    fields = arch(**mixing, **told)
    folder = Folder(path, style, name, state_dict(fields))
    write_dataset(path / "data")
    write_checkpoint(path, fields, folder.weights, name=name)
    if style == "flat":
        (path / "all_config.yaml").unlink()
        flat = {k: v for k, v in fields.items() if k not in ("name", "loss")}
        folder.write({**flat, "seq_len": 9, "vocab_size": 7, "num_puzzle_identifiers": 5})
    if style == "converted":
        save(load(path), path / "c")
        for file in ("config.json", "model.safetensors"):
            (path / "c" / file).rename(path / file)
        (path / name).unlink()
        (path / "all_config.yaml").unlink()
        folder.name = "model.safetensors"
        folder.write({k: v for k, v in folder.document().items() if k != "fields_sha256"})  # which tells of any change by hand
    return folder


# Each changes a folder. It returns what it did, and whether that must be told also where the model stays the same; None: not
# possible here.
Change = Callable[[random.Random, Folder], tuple[str, bool] | None]


def _field(r: random.Random, folder: Folder, document: dict) -> str:
    return r.choice([name for name in folder.fields(document) if name in OTHER])


def _other(field: str, folder: Folder) -> object:
    return not folder.fields(folder.document()).get("mlp_t") if field == "mlp_t" else OTHER[field]


def misspelt(r: random.Random, folder: Folder):
    document = folder.document()
    fields, k = folder.fields(document), _field(r, folder, document)
    i = r.randrange(len(k))
    camel = "".join(w.capitalize() if n else w for n, w in enumerate(k.split("_")))
    wrong = r.choice((k[:i] + k[i + 1 :], k[:i] + 2 * k[i] + k[i + 1 :], k + "s", "n_" + k, k.upper(), k.replace("_", "-"),
                      k.replace("_", ""), camel, "num_" + k))  # fmt: skip
    if wrong in fields:
        return None
    fields[wrong] = fields.pop(k)
    folder.write(document)
    return f"{k} written {wrong}", True


def without(r: random.Random, folder: Folder):
    document = folder.document()
    k = _field(r, folder, document)
    del folder.fields(document)[k]
    folder.write(document)
    return f"without {k}", False


def moved(r: random.Random, folder: Folder):
    document, section = folder.document(), r.choice((*SECTIONS, "loss"))
    fields = folder.fields(document)
    k = _field(r, folder, document)
    fields[section] = {**fields.get(section, {}), k: fields.pop(k)}
    folder.write(document)
    return f"{k} moved to {section}", False


def twice(r: random.Random, folder: Folder):
    document = folder.document()
    k = _field(r, folder, document)
    other, text = json.dumps(_other(k, folder)), folder.file.read_text()
    if folder.style == "original":
        folder.file.write_text(text.replace("arch:\n", f"arch:\n  {k}: {other}\n"))
    else:
        folder.file.write_text(f'{text.rstrip()[:-1]}, "{k}": {other}}}')
    return f"{k} twice", True


def also(r: random.Random, folder: Folder):
    document, section = folder.document(), r.choice(SECTIONS)
    k = _field(r, folder, document)
    (document if r.random() < 0.5 else folder.fields(document))[section] = {k: _other(k, folder)}
    folder.write(document)
    return f"{k} also in {section}", True


def switched(r: random.Random, folder: Folder):
    document, k = folder.document(), r.choice(list(SWITCHES))
    (document if r.random() < 0.5 else folder.fields(document))[k] = SWITCHES[k]
    folder.write(document)
    return f"with {k}", True


def ill_typed(r: random.Random, folder: Folder):
    document = folder.document()
    k, value = _field(r, folder, document), r.choice(WRONG)
    if k == "H_layers" or isinstance(value, float) and k in ("expansion", "rope_theta"):
        return None  # TRM does not read the one, the others take any number
    folder.fields(document)[k] = value
    folder.write(document)
    return f"{k} is {value!r}", True


def second_file(r: random.Random, folder: Folder):
    own = () if folder.style == "converted" else (f"{folder.name}.json", f"{Path(folder.name).stem}.yaml")
    file = folder.path / r.choice((*FILES, *own))
    k = _field(r, folder, folder.document())
    if file.exists():
        return None
    write_config(file, {"arch": {k: _other(k, folder)}})
    return f"{file.name} with another {k}", True


def second_checkpoint(r: random.Random, folder: Folder):
    file = folder.path / r.choice(("step_2000", "step_10", "model.safetensors", "best.pt", "last.ckpt", "step_1000.pt"))
    if file.exists():
        return None
    others = {PREFIX + k: v + 1 for k, v in folder.weights.items()}
    if file.suffix == ".safetensors":
        save_file(others, str(file))
    else:
        torch.save(others, file)
    return f"with {file.name}", False


def other_tensors(r: random.Random, folder: Folder):
    if folder.style == "converted":
        return None
    tensors, kind = dict(folder.weights), r.randrange(3)
    name = r.choice(list(tensors) if kind else TENSORS)
    if kind == 0:
        if name in tensors:
            return None
        tensors[name] = torch.zeros(12, 32)
    elif kind == 1:
        tensors[name + ".x"] = tensors.pop(name)
    else:
        del tensors[name]
    torch.save({PREFIX + k: v for k, v in tensors.items()}, folder.path / folder.name)
    return f"{('added', 'renamed', 'dropped')[kind]} {name}", True


def bundled(r: random.Random, folder: Folder):
    if folder.style == "converted":
        return None
    name = r.choice(AVERAGES)
    others = {k: v + 1 for k, v in folder.weights.items()}
    torch.save({"model": folder.weights, name: others, "step": 3}, folder.path / folder.name)
    return f"a bundle with {name}", True


def other_dataset(r: random.Random, folder: Folder):
    file, field = folder.path / "data/train/dataset.json", r.choice(("seq_len", "vocab_size", "num_puzzle_identifiers"))
    document = json.loads(file.read_text())
    write_config(file, {**document, field: document[field] + 1})
    return f"a dataset with another {field} in train", False


CHANGES: tuple[Change, ...] = (misspelt, without, moved, twice, also, switched, ill_typed, second_file, second_checkpoint,
                               other_tensors, bundled, other_dataset)  # fmt: skip


def same(a: Reasoner, b: Reasoner) -> bool:
    """Whether two models compute the same."""
    if a.config.mixer == "mlp_t":  # it has no heads
        b = replace(b, config=replace(b.config, num_heads=a.config.num_heads))
    return (a.config == b.config and a.tensors.keys() == b.tensors.keys()
            and all(np.array_equal(a.tensors[k], b.tensors[k]) for k in a.tensors))  # fmt: skip


def attempt(r: random.Random, path: Path) -> tuple[str, str] | None:
    """One change of a new folder; returns (what happened, what was done): "wrong" and "untold" must not be."""
    folder = make(r, path)
    before = load(path)
    before = replace(before, tensors={k: np.array(v) for k, v in before.tensors.items()})  # not mapped from the file
    change = r.choice(CHANGES)
    done = change(r, folder)
    if done is None:
        return None
    what = f"{folder.style}: {done[0]}"
    try:
        after = load(path)
    except RecurcError as error:
        return ("refused" if error.exit_code == 3 else f"exit {error.exit_code}"), what
    told = any(note not in before.notes for note in after.notes)
    if not same(before, after):
        return ("told" if told else "wrong"), what
    return ("told" if told else "untold" if done[1] else "same"), what


def attempts(changes: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(how many ended how, those that should not have)."""
    r, count, found = random.Random(seed), Counter[str](), []
    while count.total() < changes:
        with tempfile.TemporaryDirectory() as name:
            result = attempt(r, Path(name))
        if result is not None:
            count[result[0]] += 1
            if result[0] not in ("refused", "told", "same"):
                found.append(": ".join(result))
    return count, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    count, found = attempts(args.changes, args.seed)
    print("\n".join(sorted(set(found))))
    print(", ".join(f"{n:,} {what}" for what, n in count.most_common()))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
