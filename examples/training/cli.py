"""`python examples/train.py RECIPE.toml`: train, resume, export."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="train.py", description="Train a small recursive reasoner and export it.")
    p.add_argument("recipe", type=Path, help="a TOML file, see examples/recipes/")
    p.add_argument("--run-dir", type=Path, help="where the state file lives (default: runs/NAME)")
    p.add_argument("--minutes", type=float, help="wall-clock budget instead of the recipe's")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--fresh", action="store_true", help="ignore an existing state file")
    p.add_argument("--export-only", action="store_true", help="export the state file as it is now; no training")
    p.add_argument("--no-export", action="store_true")
    p.add_argument("--out", type=Path, default=HERE / "models", help="folder of exported models")
    p.add_argument("--raw", type=Path, help="also write the original code's step_N + all_config.yaml here")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))  # before torch is imported
    import torch

    torch.set_num_threads(args.threads)
    from . import trainer as training
    from .recipe import RecipeError, read_recipe

    try:
        recipe = training.with_budget(read_recipe(args.recipe), args.minutes)
    except (OSError, RecipeError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    run_dir = args.run_dir or Path("runs") / recipe.name
    run_dir.mkdir(parents=True, exist_ok=True)
    train_pool, test_pool = training.pools(recipe, run_dir, say)
    test = training.test_set(recipe, test_pool)
    try:
        t = training.Trainer(recipe, run_dir, train_pool, say, start_of(recipe, args.out))
    except (OSError, ValueError) as error:
        where = f"grow_from = {recipe.train.grow_from!r}: " if recipe.train.grow_from else ""
        print(f"train.py: {where}{error}", file=sys.stderr)
        return 2
    if not args.fresh and t.load():
        say(f"continuing at step {t.step}, {t.elapsed / 60:.1f} minutes")
    elif args.export_only:
        print(f"train.py: no state file in {run_dir}", file=sys.stderr)
        return 2
    if not args.export_only:
        train(t, test)
        if t.stop:
            say(f"stopped at step {t.step}; the same command continues")
            return 130
    if not args.no_export:
        from .export import export

        export(t, train_pool, test, args.out / recipe.name, say, raw=args.raw)
    return 0


def start_of(recipe, models: Path):
    """The widened weights of the model named by `grow_from`; None without it."""
    if not recipe.train.grow_from:
        return None
    from safetensors.torch import load_file

    from .grow import grow
    from .recipe import read_recipe

    folder = models / recipe.train.grow_from
    narrow = read_recipe(folder / "recipe.toml").model
    return grow(narrow, load_file(folder / "model.safetensors"), recipe.model, recipe.train.seed)


def say(text: str) -> None:
    print(text, flush=True)


def train(t, test) -> None:
    from .plots import plot_curves

    def on_eval(row: dict) -> None:
        exact = " ".join(f"{s}:{100 * v:.1f}" for s, v in row["exact"].items())
        cell = list(row["cell"].values())[-1]
        say(
            f"[{row['minutes']:6.1f} min] held out, n={row['n']}: exact after steps {exact}; cells {100 * cell:.1f}; "
            f"early exit {100 * row['early_exit_exact']:.1f} in {row['early_exit_steps']:.1f} steps"
        )
        if t.history:
            plot_curves(t.history, t.evals, t.recipe.title, t.run_dir / "curves.png")

    def line(row: dict) -> str:
        return (
            f"step {row['step']} loss {row['loss']:.4f} cells {100 * row['cell']:.1f} exact {100 * row['exact']:.1f} "
            f"depth {row.get('depth', float('nan')):.1f} lr {row['lr']:.1e}"
        )

    if not sys.stdout.isatty():
        t.run(test, lambda row: say(f"[{row['minutes']:6.1f} min] {line(row)}"), on_eval)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(BarColumn(), TextColumn("{task.percentage:3.0f}% {task.description}"), TimeRemainingColumn()) as bar:
        task = bar.add_task("training", total=1.0)

        def on_log(row: dict) -> None:
            bar.update(task, completed=t.progress(), description=line(row))

        t.run(test, on_log, on_eval)
