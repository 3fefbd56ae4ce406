"""A training recipe: one TOML file, checked when read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from .arc import ArcError
from .maze import MazeError
from .model import ModelConfig
from .tasks import KINDS, Task


@dataclass(frozen=True)
class Train:
    batch: int
    lr: float
    minutes: float = 0.0  # wall-clock budget; the learning rate reaches its end with it
    steps: int = 0  # or a number of optimizer steps (reproducible); exactly one of the two
    warmup: int = 100  # optimizer steps
    lr_min_ratio: float = 0.05
    weight_decay: float = 0.1
    puzzle_emb_lr: float = 0.0  # of the puzzle rows' own sign-SGD, as in the original; 0: the ordinary optimizer trains them
    puzzle_emb_weight_decay: float = 0.1
    ema: float = 0.995
    seed: int = 0
    compile: bool = True
    grow_from: str = ""  # start from this exported model, widened (see grow.py), not from random weights


@dataclass(frozen=True)
class Eval:
    every_minutes: float = 3.0
    puzzles: int = 128
    steps: int = 16


@dataclass(frozen=True)
class Export:
    weights: str = "float32"  # or "bfloat16": matrices and embeddings stored in half the bytes
    train_slice: int = 512
    test_slice: int = 1024
    card_puzzles: int = 1024  # of the test slice, for the measured figures
    card_dtype: str = "float32"
    edges: tuple[int, ...] = ()  # givens buckets [a, b) of the card


@dataclass(frozen=True)
class Recipe:
    name: str
    title: str
    task: Task
    model: ModelConfig
    train: Train
    eval: Eval
    export: Export
    text: str  # the TOML file itself, shipped beside the model


class RecipeError(ValueError):
    """Something in the recipe file is wrong; the message says what and where."""


def _section(cls, name: str, values: dict):
    known = {f.name for f in fields(cls)}
    if unknown := set(values) - known:
        raise RecipeError(f"[{name}]: unknown key {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"[{name}]: {error}") from error


def read_recipe(path: Path) -> Recipe:
    text = path.read_text(encoding="utf-8")
    try:
        raw = tomllib.loads(text)
        kind = raw["task"].get("kind", "sudoku")
        if kind not in KINDS:
            raise RecipeError(f"[task]: kind must be one of {sorted(KINDS)}, not {kind!r}")
        task = _section(KINDS[kind], "task", raw["task"])
        recipe = Recipe(
            name=raw["name"],
            title=raw["title"],
            task=task,
            model=_section(ModelConfig, "model", {**task.sizes(), **raw["model"]}),
            train=_section(Train, "train", raw["train"]),
            eval=_section(Eval, "eval", raw.get("eval", {})),
            export=_section(Export, "export", raw.get("export", {})),
            text=text,
        )
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}") from error
    except (ArcError, MazeError) as error:
        raise RecipeError(f"{path}: [task]: {error}") from error
    except KeyError as error:
        raise RecipeError(f"{path}: missing {error}") from error
    if bool(recipe.train.minutes) == bool(recipe.train.steps):
        raise RecipeError(f"{path}: [train]: give exactly one of minutes, steps")
    return recipe
