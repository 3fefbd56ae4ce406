"""Rewrites the results table in examples/README.md and the model cards from the models' metrics.json files.

Run as `python -m examples.training.overview`.
"""

from __future__ import annotations

import json
from pathlib import Path

from .card import model_card
from .recipe import read_recipe

BEGIN, END = "<!-- results: written by examples/training/overview.py -->", "<!-- end of results -->"
EXAMPLES = Path(__file__).resolve().parent.parent


def table(models: Path) -> str:
    head = "model", "parameters", "weights file", "trained", "exact after 1 / 2 / 4 / all steps", "cells", "early exit"
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for path in sorted(models.glob("*/metrics.json")):
        m = json.loads(path.read_text(encoding="utf-8"))
        h = m["held_out"]
        exact = " / ".join(f"{100 * h['exact'][s]:.1f}" for s in dict.fromkeys(("1", "2", "4", list(h["exact"])[-1])))
        cell = list(h["cell"].values())[-1]
        row = (
            f"[{m['name']}](models/{m['name']}/README.md)",
            f"{m['parameters']:,}",
            f"{m['safetensors_bytes'] / 1e6:.2f} MB, {m['stored_weights']}",
            f"{m['optimizer_steps']:,} steps of {m['batch']}, {m['minutes']:g} min",
            f"{exact} (n={h['n']})",
            f"{100 * cell:.1f}",
            f"{100 * h['early_exit_exact']:.1f} in {h['early_exit_steps']:.1f} steps",
        )
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def with_table(text: str, models: Path) -> str:
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{table(models)}\n{END}{tail}"


def rewrite_card(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(model_card(metrics, read_recipe(folder / "recipe.toml")), encoding="utf-8")


if __name__ == "__main__":
    for path in (EXAMPLES / "models").glob("*/metrics.json"):
        rewrite_card(path.parent)
    readme = EXAMPLES / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), EXAMPLES / "models"), encoding="utf-8")
