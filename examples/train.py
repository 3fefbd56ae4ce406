"""Train an example model: `python examples/train.py examples/recipes/sudoku4-tiny.toml`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.training.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
