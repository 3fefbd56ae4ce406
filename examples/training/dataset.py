"""`python -m examples.training.dataset RECIPE.toml DIR`: a recipe's puzzles as a dataset directory, as many as one likes.

The training puzzles of a shipped model's `data` folder are few; methods that learn (`recurc study --train DIR`) want more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from .recipe import RecipeError, read_recipe


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m examples.training.dataset", description="Write a recipe's puzzles.")
    p.add_argument("recipe", type=Path, help="a TOML file, see examples/recipes/")
    p.add_argument("folder", type=Path)
    p.add_argument("--train", type=int, default=10000, help="puzzles for training (default: 10000)")
    p.add_argument("--test", type=int, default=512, help="puzzles held out (default: 512)")
    p.add_argument("--seed", type=int, default=0, help="of the training puzzles that are drawn")
    p.add_argument("--run-dir", type=Path, help="where the pool of base puzzles is kept (default: nowhere)")
    args = p.parse_args(argv)
    try:
        task = read_recipe(args.recipe).task
        with tempfile.TemporaryDirectory() as folder:
            pools = args.run_dir or Path(folder)
            pools.mkdir(parents=True, exist_ok=True)
            train, test = task.sources(pools, lambda text: print(text, file=sys.stderr))
        args.folder.mkdir(parents=True, exist_ok=True)
        drawn = train.draw(args.train, np.random.default_rng([args.seed, 5]))
        task.write_data(args.folder, drawn, task.test_set(test, args.test))
    except (OSError, RecipeError) as error:
        print(f"dataset: {error}", file=sys.stderr)
        return 2
    print(f"{args.train} training and {args.test} held-out puzzles: {args.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
