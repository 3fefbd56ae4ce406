"""Configuration beside a checkpoint.

`all_config.yaml` of the original code, `config.json` of ours, `dataset.json` of the dataset.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recurc.arguments import argument
from recurc.dataset import Metadata, dataset_names, read_metadata
from recurc.errors import InputError
from recurc.formats import parse_json, parse_yaml
from recurc.models.arch_fields import MODEL_FIELDS, differences, unknown_notes
from recurc.models.layouts import Layout, translated
from recurc.models.reasoner import ReasonerConfig
from recurc.puzzlenames import check_names, difference, names_in
from recurc.reading import Refusal, Unreadable, is_file, not_read, read_text, shown, user_path

CONFIG_FORMAT = "recurc/checkpoint/1"
WEIGHTS_SHA256, FIELDS_SHA256 = "weights_sha256", "fields_sha256"  # in a config.json of ours
_NOT_DIGESTED = ("format", "notes", WEIGHTS_SHA256, FIELDS_SHA256)
TOLD = {"seq_len": "seq-len", "num_heads": "heads", "pos_encodings": "pos"}  # fields that a caller may say: its option
DATA_FIELDS = ("seq_len", "vocab_size", "num_puzzle_identifiers")
_OURS = "config.json"
NEARBY = "data_seq_len"  # length of a dataset that lies near the checkpoint but that nothing names
_CONFIG_STEMS = ("all_config", "config", "hparams", "hyperparameters", "model_config", "params", "args", "arch")
_CONFIG_SUFFIXES = (".yaml", ".yml", ".json")
_HYDRA = ".hydra/config.yaml"
_GENERAL = (*(stem + suffix for stem in _CONFIG_STEMS for suffix in _CONFIG_SUFFIXES), _HYDRA)
_NO_SECTION = ("loss", "evaluators")  # of a configuration: what has names like a model's
_NESTED = 3  # sections in sections that are looked into
_CONTRADICTIONS = 8  # that an error names
_NOTES = 50  # of a converted checkpoint that are kept
_PATHS = 100  # of data_paths that are looked at
_PARENTS = 4  # data_paths are relative to where training ran: some folder above the checkpoint


@dataclass(frozen=True)
class Source:
    """Fields of one configuration, flat: `arch` is unfolded and `arch.name` becomes `name`.

    `where`: the file, or the place in it; `notes`: those stored with a converted checkpoint, and one for each unknown field.
    """

    where: str
    fields: dict[str, object]
    notes: tuple[str, ...] = ()

    @property
    def says_something(self) -> bool:
        """Whether any field is one of a model."""
        return any(name in MODEL_FIELDS for name in self.fields)


def read_fields(
    checkpoint: Path, inside: Sequence[Source] = (), layout: Layout | None = None, told: Mapping[str, object] | None = None
) -> tuple[dict[str, object], str | None, list[str]]:
    """The original's configuration fields of a checkpoint, from whatever lies beside it and in it.

    Args:
        inside: configurations that the checkpoint itself holds. Where it has none and none lies beside it, that of the folder
            above is read.
        layout: whose words the files beside it are in; None: the reference's.
        told: fields that the caller says, None where it says nothing of one: one more configuration, after all others.

    Returns:
        (fields, the file that they come from or None, notes: what was stored, is unknown, or was passed over).

    Raises:
        InputError: a configuration that cannot be read, a `config.json` of another format, or two that contradict each other.
    """
    found = [*(_read(path, layout) for path in _beside(checkpoint)), *inside]
    notes = [f"{s.where} says nothing of the model and is not used" for s in found if not s.says_something]
    telling = [s for s in found if s.says_something]
    if not telling:
        telling, refused = _above(checkpoint, layout)
        notes += refused
        notes += [f"the configuration is {s.where}, of the folder above: none lies beside the checkpoint" for s in telling[:1]]
    file = telling[0].where if telling else None
    telling += (said := _said(told or {}))
    if not telling:
        return {}, None, notes
    first = telling[0]
    for other in telling[1:]:
        names = differences(first.fields, other.fields)
        if names:
            why = (
                f"{n} is {shown(first.fields[n])} in {first.where} and {shown(other.fields[n])} in {other.where}" for n in names
            )
            raise InputError(
                "two configurations of the checkpoint contradict each other", where=f"{first.where} and {other.where}",
                why="; ".join(why), next="Leave it out, or correct the file that is wrong" if other in said
                else "Move away the one that is not of this checkpoint",
            )  # fmt: skip
    if len(telling) > 1:
        agreeing = ", ".join(s.where for s in telling[1:])
        notes.append(f"the configuration is {first.where}; {agreeing} agree{'s' * (len(telling) == 2)} with it")
    fields: dict[str, object] = {}
    for source in reversed(telling):
        fields |= source.fields
    return fields, file, [*(note for s in telling for note in s.notes), *notes]


def _said(told: Mapping[str, object]) -> list[Source]:
    """What the caller says of the model, as a configuration; empty where nothing is said."""
    fields = {name: value for name, value in told.items() if value is not None}
    return [Source(" and ".join(argument(n, option=TOLD[n]) for n in fields), fields)] if fields else []


def _beside(checkpoint: Path) -> list[Path]:
    """The configuration files beside a checkpoint, those of its own name first, then those that are named like one."""
    stems = [checkpoint.stem, checkpoint.name] if checkpoint.stem not in ("model", "checkpoint") else [checkpoint.name]
    own = [stem + suffix for stem in dict.fromkeys(stems) for suffix in _CONFIG_SUFFIXES]
    ours = [_OURS] if checkpoint.suffix == ".safetensors" else []
    names = dict.fromkeys([*(n for n in own if n not in _GENERAL), *ours, *_GENERAL])
    folder = str(checkpoint.parent)  # thirty names: making a Path of each costs more than to look
    return [checkpoint.parent / name for name in names if is_file(os.path.join(folder, name))]


def _above(checkpoint: Path, layout: Layout | None) -> tuple[list[Source], list[str]]:
    """(the configurations in the folder above, as for the dataset; those that the system refuses, each as a note). What is of
    something else there is passed over.

    Raises:
        InputError: one contradicts itself, or is a model's that cannot be read.
    """
    folder = _folder(checkpoint).parent
    found, refused = [], []
    for name in _GENERAL:
        if not is_file(folder / name, private=True):
            continue
        try:
            source = _read(folder / name, layout)
        except InputError as error:
            if name.startswith("all_config."):
                raise
            if isinstance(error, Refusal):
                refused.append(f"{folder / name}, in the folder above, is not used, as it cannot be read: {error.why}")
            continue
        if source.says_something and WEIGHTS_SHA256 not in source.fields:  # else it is of the weights beside it
            found.append(source)
    return found, refused


def _read(path: Path, layout: Layout | None) -> Source:
    try:
        raw = (parse_json if path.suffix == ".json" else parse_yaml)(read_text(path))
        if not isinstance(raw, dict):
            raise Unreadable(f"it holds {shown(raw)}, not a table of fields")
    except Unreadable as error:
        kind = "the configuration file"
        raise not_read(error, path, kind, f"{kind} cannot be read", "Correct it") from None
    stated = raw.get("format")
    if stated is not None and stated != CONFIG_FORMAT:
        raise InputError(
            "config.json is of a format that this recurc does not read", where=str(path),
            why=f"format is {shown(stated)}, not {CONFIG_FORMAT!r}", next="Convert the checkpoint again with this version",
        )  # fmt: skip
    source = flat_source(translated(layout, raw, str(path)), str(path))
    if stated is not None and raw.get(FIELDS_SHA256) not in (None, fields_digest(raw)):
        source = replace(source, notes=(*source.notes, f"{path} was changed by hand since the conversion"))
    return source


def fields_digest(document: Mapping[str, object]) -> str:
    """sha256 of the fields of a converted checkpoint's configuration, without what is said of them and of the weights."""
    fields = {k: v for k, v in document.items() if k not in _NOT_DIGESTED}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def flat_source(raw: Mapping[str, object], where: str) -> Source:
    """A configuration as the original, or we, write it.

    Raises:
        InputError: `arch`, the top of the file and its other sections give a field other values.
    """
    top = {str(k): v for k, v in raw.items() if v is not None and k not in ("arch", "notes", "name")}
    section = raw.get("arch")
    arch = {str(k): v for k, v in section.items() if v is not None} if isinstance(section, Mapping) else {}
    sections = {**_sections(top, "in "), **_sections(arch, "in arch.")}
    places = {"in arch": arch, "at the top": top, **sections}
    _check_agreement(places, where)
    found = []
    if not arch and not any(name in MODEL_FIELDS for name in top):  # the architecture lies deeper
        arch = {name: value for section in reversed(sections.values()) for name, value in section.items()}
        found = [f"{where}: the architecture is read {place.replace('in', 'from', 1)}" for place in sections]
    unused = found[:_CONTRADICTIONS]
    for place, other in sections.items():
        alone = {n: v for n, v in other.items() if n in MODEL_FIELDS and n != "name" and n not in arch and n not in top}
        if alone:
            listed = ", ".join(f"{n} ({shown(v)})" for n, v in alone.items())
            unused.append(f"{where}: what only stands {place} is not used: {listed}")
    fields = {**top, **arch}
    if raw.get("arch_name"):
        fields["name"] = raw["arch_name"]
    elif not arch and isinstance(raw.get("name"), str) and "@" in str(raw["name"]):
        fields["name"] = raw["name"]  # an arch section by itself
    stored = raw.get("notes")
    notes = [n for n in stored if isinstance(n, str)][:_NOTES] if isinstance(stored, list) else []
    notes += unused
    read = {place.removeprefix("in ").removeprefix("arch.").partition(".")[0] for place in sections}
    notes += unknown_notes({k: v for k, v in arch.items() if k not in read}, where, True, fields)
    notes += unknown_notes({k: v for k, v in top.items() if k not in arch and k not in read}, where, False, fields)
    return Source(where, fields, tuple(notes[:_NOTES]))


def _sections(fields: Mapping[str, object], prefix: str, depth: int = _NESTED) -> dict[str, dict[str, object]]:
    """The sections among some fields, and in sections, that hold fields of a model, by where they stand."""
    found: dict[str, dict[str, object]] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and name not in _NO_SECTION:
            inner = {str(k): v for k, v in value.items() if v is not None}
            if any(n in MODEL_FIELDS and n != "name" for n in inner):
                found[prefix + name] = inner
            if depth:
                found |= _sections(inner, f"{prefix}{name}.", depth - 1)
    return found


def _check_agreement(places: Mapping[str, Mapping[str, object]], where: str) -> None:
    """Raises InputError when two places of one configuration give a field of the model other values."""
    told = []
    for (first, a), (second, b) in itertools.combinations(places.items(), 2):
        told += [f"{n} is {shown(a[n])} {first} and {shown(b[n])} {second}" for n in differences(a, b) if n != "name"]
    if told:
        raise InputError(
            "the configuration contradicts itself", where=where, why="; ".join(told[:_CONTRADICTIONS]),
            next="Leave the field in one place",
        )  # fmt: skip


def flat_fields(config: ReasonerConfig) -> dict[str, object]:
    """A configuration by the original's field names, with `arch_name`: what `config.json` holds."""
    from recurc.models import families

    return {
        "arch_name": families()[config.family].ARCH_NAMES[0],
        "seq_len": config.seq_len,
        "vocab_size": config.vocab_size,
        "num_puzzle_identifiers": config.num_puzzle_identifiers,
        "hidden_size": config.hidden_size,
        "expansion": config.expansion,
        "num_heads": config.num_heads,
        "mlp_t": config.mixer == "mlp_t",
        "H_layers": config.H_layers,
        "L_layers": config.L_layers,
        "H_cycles": config.H_cycles,
        "L_cycles": config.L_cycles,
        "halt_max_steps": config.halt_max_steps,
        "pos_encodings": config.pos_encodings,
        "puzzle_emb_ndim": config.puzzle_emb_ndim,
        "puzzle_emb_len": config.puzzle_emb_len,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "forward_dtype": config.forward_dtype,
    }


def find_dataset(
    fields: Mapping[str, object], checkpoint: Path, data_dir: str | Path | None, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Metadata, bool] | None:
    """The dataset of a checkpoint: the one given, else through `data_paths`, else one that lies near and fits.

    Returns:
        (metadata, whether it is the one given or configured), or None when there is none.

    Raises:
        InputError: `data_dir` is no dataset, or its vocabulary is not the model's.
    """
    vocab = (shapes.get("embed_tokens.embedding_weight") or (None,))[0]
    if data_dir is not None:
        meta = _metadata(user_path(data_dir))
        if meta is None:
            raise InputError(
                "no dataset directory", where=str(data_dir), why="it has no train/dataset.json or test/dataset.json",
                next="Pass the directory that holds train/ and test/",
            )  # fmt: skip
        if vocab not in (None, meta.vocab_size):
            raise other_dataset(data_dir, f"a vocabulary of {meta.vocab_size} where the model's is {vocab}")
        return meta, True
    folder = _folder(checkpoint)
    for candidate in _configured(fields, folder):  # where it was trained, perhaps below somebody else's home
        if (meta := _metadata(candidate, private=True)) is not None and vocab in (None, meta.vocab_size):
            return meta, True
    for candidate in nearby_datasets(checkpoint):
        if (meta := _metadata(candidate)) is not None and vocab in (None, meta.vocab_size):
            return meta, False
    return None


def compare_names(fields: Mapping[str, object], checkpoint: Path, data_dir: str | Path | None) -> list[str]:
    """That everything which names the puzzle identifiers of a checkpoint's embeddings says the same: its folder, its dataset as
    configured, and the one that is given. A dataset that only lies near is no more than a hint, unless it is what is used.

    Returns:
        A note, where a dataset near the checkpoint names them otherwise than the one that is given.

    Raises:
        InputError: two contradict each other.
    """
    folder = _folder(checkpoint)
    configured = next((p for p in _configured(fields, folder) if _metadata(p, private=True) is not None), None)
    near = next(iter(nearby_datasets(checkpoint)), None)
    used = near if data_dir is None else user_path(data_dir)
    sure = [file for place in (configured, used) if place is not None for file in dataset_names(place)[:1]]
    check_names(
        [*names_in(folder), *sure],
        "the dataset names its puzzles otherwise than the checkpoint",
        f"Pass the dataset that the checkpoint was trained on with {argument('data', 'DIR')}",
    )
    hints = [] if near is None else dataset_names(near)[:1]
    told = next((text for file in sure for other in hints if (text := difference(other, file))), "")
    return [f"{told}: which of the two datasets the embeddings are of, nothing tells"] if told else []


def other_dataset(data_dir: str | Path, difference: str) -> InputError:
    """The error for a dataset that is not the model's."""
    return InputError(
        "the dataset is not of this model",
        where=str(data_dir),
        why=f"it has {difference}",
        next=f"Pass the dataset that the checkpoint was trained on with {argument('data', 'DIR')}",
    )


def nearby_datasets(checkpoint: Path) -> list[Path]:
    """Folders `data` beside a checkpoint file and beside its folder, when they hold a dataset."""
    folder = _folder(checkpoint)
    return [
        p
        for p in (folder / "data", folder.parent / "data")
        if any(is_file(p / split / "dataset.json") for split in ("train", "test"))
    ]


def _folder(checkpoint: Path) -> Path:
    """The folder that a checkpoint really lies in; where the current one is gone, as it is named."""
    try:
        return Path(os.path.realpath(checkpoint)).parent
    except OSError:
        return checkpoint.parent


def _configured(fields: Mapping[str, object], folder: Path) -> list[Path]:
    told = fields.get("data_paths") or fields.get("data_path") or []
    paths = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    bases = [folder, *list(folder.parents)[:_PARENTS], Path()]
    return [base / p for p in paths[:_PATHS] for base in bases if isinstance(p, str) and len(p) < 4096]


def _metadata(directory: Path, private: bool = False) -> Metadata | None:
    """What the splits of a dataset say of it; None when it is no dataset.

    Args:
        private: as of `is_file`.

    Raises:
        InputError: two splits contradict each other.
    """
    found: dict[str, Metadata] = {}
    for split in ("train", "test", "."):
        if is_file(directory / split / "dataset.json", private=private):
            found[split] = read_metadata(directory / split)
    for split, other in found.items():
        first, meta = next(iter(found.items()))
        if names := [n for n in DATA_FIELDS if getattr(meta, n) != getattr(other, n)]:
            told = (f"{n} is {getattr(meta, n)} in {first} and {getattr(other, n)} in {split}" for n in names)
            raise InputError("the splits of the dataset contradict each other", where=str(directory), why="; ".join(told),
                             next="Move away the split that is not of this dataset")  # fmt: skip
    return next(iter(found.values()), None)
