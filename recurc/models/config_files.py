"""Configuration beside a checkpoint.

`all_config.yaml` of the original code, `config.json` of ours, `dataset.json` of the dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional

from recurc.dataset import Metadata, read_metadata
from recurc.errors import InputError
from recurc.formats import parse_json, parse_yaml
from recurc.models.reasoner import ReasonerConfig
from recurc.reading import Unreadable, read_text, shown, user_path

CONFIG_FORMAT = "recurc/checkpoint/1"
DATA_FIELDS = ("seq_len", "vocab_size", "num_puzzle_identifiers")
NEARBY = "data_seq_len"  # length of a dataset that lies near the checkpoint but that nothing names
_CONFIG_NAMES = ("all_config.yaml", "config.yaml", "config.json")
_NOTES = 50  # of a converted checkpoint that are kept
_PATHS = 100  # of data_paths that are looked at
_PARENTS = 4  # data_paths are relative to where training ran: some folder above the checkpoint


def read_fields(checkpoint: Path) -> tuple[dict[str, object], Optional[Path], list[str]]:
    """The original's configuration fields, flat: `arch` is unfolded and `arch.name` becomes `name`.

    Returns:
        (fields, the file they come from or None, notes stored with a converted checkpoint).

    Raises:
        InputError: a configuration file that cannot be read, or a `config.json` of another format.
    """
    names = _CONFIG_NAMES if checkpoint.suffix != ".safetensors" else ("config.json", "all_config.yaml")
    path = next((p for name in names if (p := checkpoint.parent / name).is_file()), None)
    if path is None:
        return {}, None, []
    try:
        raw = (parse_json if path.suffix == ".json" else parse_yaml)(read_text(path))
        if not isinstance(raw, dict):
            raise Unreadable(f"it holds {shown(raw)}, not a table of fields")
    except Unreadable as error:
        raise InputError("the configuration file cannot be read", where=str(path), why=str(error), next="Correct it") from None
    stated = raw.get("format")
    if stated is not None and stated != CONFIG_FORMAT:
        raise InputError(
            "config.json is of a format that this recurc does not read", where=str(path),
            why=f"format is {shown(stated)}, not {CONFIG_FORMAT!r}", next="Convert the checkpoint again with this version",
        )  # fmt: skip
    fields = {str(k): v for k, v in raw.items() if v is not None and k not in ("arch", "notes", "name")}
    arch = raw.get("arch")
    if isinstance(arch, Mapping):
        fields.update({str(k): v for k, v in arch.items() if v is not None})
    if raw.get("arch_name"):
        fields["name"] = raw["arch_name"]
    notes = raw.get("notes")
    return fields, path, [n for n in notes if isinstance(n, str)][:_NOTES] if isinstance(notes, list) else []


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
) -> Optional[tuple[Metadata, bool]]:
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
    folder = checkpoint.resolve().parent
    for candidate in _configured(fields, folder):
        if (meta := _metadata(candidate)) is not None and vocab in (None, meta.vocab_size):
            return meta, True
    for candidate in nearby_datasets(checkpoint):
        if (meta := _metadata(candidate)) is not None and vocab in (None, meta.vocab_size):
            return meta, False
    return None


def other_dataset(data_dir: str | Path, difference: str) -> InputError:
    """The error for a dataset that is not the model's."""
    return InputError(
        "the dataset is not of this model",
        where=str(data_dir),
        why=f"it has {difference}",
        next="Pass the dataset that the checkpoint was trained on with --data DIR",
    )


def nearby_datasets(checkpoint: Path) -> list[Path]:
    """Folders `data` beside a checkpoint file and beside its folder, when they hold a dataset."""
    folder = checkpoint.resolve().parent
    return [p for p in (folder / "data", folder.parent / "data") if any(p.glob("t*/dataset.json"))]


def _configured(fields: Mapping[str, object], folder: Path) -> list[Path]:
    told = fields.get("data_paths") or fields.get("data_path") or []
    paths = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    bases = [folder, *list(folder.parents)[:_PARENTS], Path.cwd()]
    return [base / p for p in paths[:_PATHS] for base in bases if isinstance(p, str) and len(p) < 4096]


def _metadata(directory: Path) -> Optional[Metadata]:
    for split in ("train", "test", "."):
        if (directory / split / "dataset.json").is_file():
            return read_metadata(directory / split)
    return None
