"""What a saved file holds beside weights, and which of its weights are meant.

Training code saves a state dict, or a bundle: weights under some key, averaged weights (EMA) beside them, the configuration,
optimizers, counters. Averaged weights are those that authors evaluate, so they come first; everything that was chosen is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recurc.errors import InputError, printable
from recurc.models.picklefile import NUMPY_ARRAY, Opaque, Stored

_DEPTH = 5
_ANCHORS = ("embed_tokens.embedding_weight", "lm_head.weight", "L_init", "H_init")
_LEVEL = re.compile(r"(?:^|\.)[HL]_level\.layers\.")
# Wrappers of a module, wherever in a name: torch.compile, FSDP, DistributedDataParallel and AveragedModel.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_USUAL = re.compile(r"^(?:(?:module|model|inner)\.)+")
_KNOWN = (
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "inner",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "net",
    "weights",
)  # where weights lie that needs no word
# What is kept of each weight beside it: states of optimizers, gradients, differences, importances. Never a model.
_KEPT_BESIDE = re.compile(
    r"^(?:m|v|mu|nu)$|(?:^|[_ ])(?:exp_avgs?|exp_inf|opt|optim|sum_sq|optimi[sz]ers?|momentum|moments?|grads?|gradients?|"
    r"deltas?|fisher|hessian|square_avg|acc_delta|adam|velocity|variances?|importances?|masks?|diffs?|task_vectors?|updates?|"
    r"slow_buffer)(?:$|[_ ])",
    re.IGNORECASE,
)
_COUNTERS = re.compile(r"^(?:n_averaged|num_updates|decay|(?:\w+\.)*num_batches_tracked)$")
_EMA = re.compile(r"ema|shadow|averaged|swa", re.IGNORECASE)
_CONFIGS = ("config", "hyper_parameters", "hparams", "cfg", "args")
_OPTIMIZER = {"state", "param_groups"}
_PREDICTIONS = {"logits", "preds", "predictions", "q_halt_logits", "inputs", "labels"}
# Objects of these do not matter to weights; whatever else a pickle names is refused.
HARMLESS = (
    "numpy.",
    "collections.",
    "argparse.",
    "pathlib.",
    "types.",
    "datetime.",
    "random.",
    "omegaconf.",
    "torch.",
    "typing.",
    "enum.",
    "builtins.",
    "_codecs.",
    "copyreg._reconstructor",
)
_DANGEROUS = re.compile(r"^(?:builtins|__builtin__)\.(?!object$|set$|frozenset$|list$|dict$|tuple$|slice$|complex$|bytearray$)")


@dataclass(frozen=True)
class Weights:
    """The weights that are meant: name -> tensor, notes on how they were chosen, and the configuration that lay beside them.

    What of `state` is no tensor is for the reader to refuse.
    """

    state: Mapping[str, object]
    notes: tuple[str, ...] = ()
    config: Mapping[str, object] | None = None
    config_key: str = ""


class NotWeights(InputError):
    """What a file holds is told, and is no weights of a model."""


@dataclass
class _Candidate:
    path: tuple[str, ...]
    state: Mapping[str, object]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def averaged(self) -> bool:
        return any(_EMA.search(part) for part in self.path)

    @property
    def beside_weights(self) -> str:
        """The part of its place that says that these are no weights; empty where none does."""
        return next((part for part in self.path if _KEPT_BESIDE.search(part)), "")


def is_harmless(name: str) -> bool:
    """Whether an object that a pickle names may be passed over (it is never built, whatever it is)."""
    return name.startswith(HARMLESS) and not _DANGEROUS.match(name)


def short_names(names: Mapping[str, object] | list[str]) -> dict[str, str]:
    """Name in a file -> name of the inner model: without wrappers, and without what stands before all of its tensors."""
    plain = {name: _WRAPPERS.sub("", name) for name in names}
    prefix = next((before for anchor in _ANCHORS for before in _before(anchor, plain.values())), "")
    return {
        name: _USUAL.sub("", short.removeprefix(prefix)) if prefix else _USUAL.sub("", short) for name, short in plain.items()
    }


def _before(anchor: str, names: Iterable[str]) -> list[str]:
    """What stands before a tensor's own name in those names that end in it."""
    return [name[: -len(anchor)] for name in names if name == anchor or name.endswith("." + anchor)]


def check_prefix(names: Iterable[str], path: Path) -> tuple[str, ...]:
    """A note on what stands before all names of a state dict, where it is none of the usual wrappers.

    Raises:
        InputError: it says that the tensors are no weights, or the weights are there twice, each under its own.
    """
    plain = [_WRAPPERS.sub("", name) for name in names]
    found = [list(dict.fromkeys(_USUAL.sub("", before) for before in _before(anchor, plain))) for anchor in _ANCHORS]
    several = next((prefixes for prefixes in found if len(prefixes) > 1), [])
    if several:
        raise InputError(
            f"the weights are there {'twice' if len(several) == 2 else f'{len(several)} times'}", where=str(path),
            why=f"one state dict has them under {_listed([repr(printable(p, 40)) if p else 'no prefix' for p in several])}",
            next="Save the state dict of the model that you evaluate: torch.save(model.state_dict(), ...)",
        )  # fmt: skip
    prefix = next((prefixes[0] for prefixes in found if prefixes), "")
    if word := next((part for part in prefix.split(".") if _KEPT_BESIDE.search(part)), ""):
        raise _kept_beside(path, f"its tensors are named under {printable(prefix, 60)!r}", word)
    if all(part in _KNOWN for part in prefix.split(".") if part):
        return ()
    return (
        f"all tensors are named under {printable(prefix, 60)!r}, which is none of the usual wrappers: it is left out, "
        "check that these are the weights that you mean",
    )


def _kept_beside(path: Path, place: str, word: str) -> InputError:
    return _not(
        path,
        f"{place}, so they are an optimizer's state or what else is kept of each weight ({printable(word, 40)}), not weights",
    )


def find_weights(loaded: object, path: Path) -> Weights:
    """The weights in what a file held.

    Raises:
        InputError: none, or several of which none is averaged.
    """
    every = list(_candidates(loaded, (), set()))
    found = [c for c in every if not c.beside_weights]
    if every and not found:
        raise _kept_beside(path, f"its tensors lie under {every[0].key!r}", every[0].beside_weights)
    if not found:
        raise _no_weights(loaded, path)
    live = [c for c in found if not c.averaged]
    averaged = [c for c in found if c.averaged]
    for group, what in ((averaged, "averaged weights"), (live, "weights")):
        if len(group) > 1:
            raise InputError(
                f"the file holds {what} {len(group)} times", where=str(path),
                why=f"under {_listed([c.key or 'the top' for c in group])}",
                next="Save the state dict of the model that you evaluate: torch.save(model.state_dict(), ...)",
            )  # fmt: skip
    config, key = _config(loaded, (averaged or live)[0].path)
    used = [*averaged, *live]
    told = [note for c in used for note in check_prefix(c.names, path)]
    state, notes = _averaged(averaged[0], live[0] if live else None, loaded) if averaged else _chosen(live[0], loaded)
    return Weights(state, (*notes, *dict.fromkeys(told)), config, key)


def _candidates(value: object, path: tuple[str, ...], seen: set[int]) -> Iterator[_Candidate]:
    """Every state dict of a reasoner in nested tables, outermost first; a table that stands in several places once.

    seen: the tables that were looked into. A few that hold each other many times would else be looked into for ever.
    """
    if not isinstance(value, Mapping) or len(path) > _DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    tensors = [k for k, v in value.items() if isinstance(k, str) and isinstance(v, (Stored, Opaque))]
    names = short_names([k for k in tensors if isinstance(value[k], Stored)])
    if any(short in _ANCHORS or _LEVEL.search(short) for short in names.values()):
        yield _Candidate(path, value, names)
        return
    for key, inner in value.items():
        if isinstance(key, str) and isinstance(inner, Mapping):
            named = "optimizer state" if key == "state" and "param_groups" in value else printable(key, 40)
            yield from _candidates(inner, (*path, named), seen)


def _state(candidate: _Candidate) -> dict[str, object]:
    return {
        str(k): v
        for k, v in candidate.state.items()
        if not (isinstance(v, Stored) and _COUNTERS.match(str(k))) and not isinstance(v, (int, float, bool, str))
    }


def _chosen(live: _Candidate, loaded: object) -> tuple[Mapping[str, object], tuple[str, ...]]:
    if not live.path:
        return _state(live), ()
    others = _others(loaded, live.path[0])
    told = f"weights are read from {live.key!r}" + (f"; not used: {_listed(others)}" if others else "")
    return _state(live), (told,) if others or len(live.path) > 1 or live.path[0] not in _KNOWN else ()


def _averaged(averaged: _Candidate, live: _Candidate | None, loaded: object) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """Averaged weights, with what is not averaged (the initial states, the puzzle table) from the live ones."""
    told = f"averaged weights (EMA) are read from {averaged.key!r}, as they are what is evaluated"
    state = _state(averaged)
    if live is None:
        return state, (told,)
    have = set(short_names(list(state)).values())
    rest = {name: value for name, value in _state(live).items() if live.names.get(name) not in have}
    where = repr(live.key) if live.path else "the top of the file"
    told += f", not the live ones under {where}" if live.path else ", not the live ones"
    if rest:
        names = sorted(live.names.get(n, n) for n in rest)
        told += f"; {_listed(names)} {'is' if len(names) == 1 else 'are'} not averaged and come from {where}"
    # By their short names, so that the two may have other prefixes.
    merged = {short: state[name] for name, short in short_names(list(state)).items()}
    merged |= {live.names.get(name, name): value for name, value in rest.items()}
    return merged, (told,)


def _others(loaded: object, used: str) -> list[str]:
    return [printable(str(k), 40) for k in loaded if str(k) != used] if isinstance(loaded, Mapping) else []


def _config(loaded: object, path: tuple[str, ...]) -> tuple[Mapping[str, object] | None, str]:
    """The configuration that lies beside the weights, or above them."""
    levels, here = [("", loaded)], loaded
    for part in path:
        here = here.get(part) if isinstance(here, Mapping) else None
        levels.append((f"{levels[-1][0]}{part}.", here))
    for prefix, level in reversed(levels):
        for key in _CONFIGS:
            inner = level.get(key) if isinstance(level, Mapping) else None
            if isinstance(inner, Mapping) and not any(isinstance(v, Stored) for v in inner.values()):
                return {str(k): v for k, v in inner.items() if not isinstance(v, Opaque)}, prefix + key
    return None, ""


def _no_weights(loaded: object, path: Path) -> InputError:
    if not isinstance(loaded, Mapping):
        what = loaded.kind if isinstance(loaded, Opaque) else f"a {type(loaded).__name__}"
        return _not(path, f"it holds {what}, not a state dict")
    keys = [printable(str(k), 40) for k in loaded]
    if not keys:
        return _not(path, "its state dict is empty")
    if set(keys) >= _OPTIMIZER:
        return _not(path, "it holds an optimizer's state, not weights")
    last = {k.split(".")[-1] for k in keys}
    if len(_PREDICTIONS & last) >= 2 or last <= _PREDICTIONS:
        return _not(path, f"it holds predictions of an evaluation ({_listed(keys)}), not weights")
    if not any(isinstance(v, (Stored, Opaque)) for v in _leaves(loaded, 0, set())):
        return _not(path, f"it holds no tensors (keys: {_listed(keys)})")
    arrays = [v for v in _leaves(loaded, 0, set()) if isinstance(v, Opaque) and v.kind == NUMPY_ARRAY]
    if arrays and not any(isinstance(v, Stored) for v in _leaves(loaded, 0, set())):
        return InputError(
            "the weights are NumPy arrays",
            where=str(path),
            why=f"it holds {len(arrays)} of them and no tensor of torch (keys: {_listed(keys)})",
            next="Save tensors: {name: torch.from_numpy(array) ...}",
        )
    return InputError(
        "the tensors are of no model family that recurc knows",
        where=str(path),
        why="found " + _listed(keys),
        next="Give a checkpoint of TRM or HRM, as the original code writes them",
    )


def _leaves(value: object, depth: int, seen: set[int]) -> Iterator[object]:
    fresh = id(value) not in seen
    seen.add(id(value))
    for inner in value.values() if isinstance(value, Mapping) and fresh else ():
        if isinstance(inner, Mapping) and depth < _DEPTH:
            yield from _leaves(inner, depth + 1, seen)
        else:
            yield inner


def _not(path: Path, why: str) -> NotWeights:
    return NotWeights(
        "not a checkpoint",
        where=str(path),
        why=why,
        next="Give a checkpoint that the original code wrote (torch.save of the state dict), or a folder with "
        "config.json and model.safetensors",
    )


def _listed(words: list[str]) -> str:
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
