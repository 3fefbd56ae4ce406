"""The model card, a pure function of the measured figures and the recipe."""

from __future__ import annotations

import textwrap

from .recipe import Recipe

SPLIT = {
    4: "The split is by puzzle: there are only two essentially different 4x4 solution grids, so the test set shares "
    "solution grids with training, but no test puzzle is a symmetry of a training puzzle.",
    6: "The split is by solution grid: of the 49 essentially different 6x6 grids, those of the test set occur in no "
    "training puzzle, under any symmetry.",
    9: "The split is by solution grid: no test grid is a symmetry (digits, rows, columns, bands, stacks, "
    "transposition) of a training grid.",
}


def pct(x: float) -> str:
    return f"{100 * x:.1f}"


def count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)


def accuracy_table(held: dict) -> str:
    """Rows: all puzzles, each givens bucket, cells; columns: steps, early exit."""
    steps = list(held["exact"])

    def row(label: str, part: dict) -> str:
        cells = [label, *(pct(part["exact"][s]) for s in steps)]
        cells += [pct(part["early_exit_exact"]), f"{part['early_exit_steps']:.1f}"]
        return f"| {' | '.join(cells)} |"

    lines = [
        f"| | {' | '.join(count(int(s), 'step') for s in steps)} | early exit | its mean steps |",
        "|" + "---|" * (len(steps) + 3),
        row(f"all {held['n']} puzzles", held),
    ]
    for bucket in held["buckets"]:
        low, high = bucket["givens"]
        span = f"{low}" if low == high else f"{low}-{high}"
        lines.append(row(f"{span} givens ({bucket['n']})", bucket))
    lines.append(f"| cells right, all | {' | '.join(pct(held['cell'][s]) for s in steps)} | | |")
    return "\n".join(lines)


def facts_table(metrics: dict, recipe: Recipe) -> str:
    cfg, n = recipe.model, recipe.task.n
    mixer = "MLP over positions"
    if not cfg.mlp_t:
        mixer = f"attention, {cfg.num_heads} heads, {cfg.pos_encodings} positions"
    shape = (
        f"hidden {cfg.hidden_size}, {count(cfg.L_layers, 'layer')}, {mixer}, expansion {cfg.expansion:g}, "
        f"{count(cfg.puzzle_rows, 'puzzle row')}"
    )
    facts = {
        "task": f"Sudoku {n}x{n}, tokens 0 PAD, 1 blank, digit d -> d + 1 (vocabulary {cfg.vocab_size})",
        "model": shape,
        "recursion": f"H = {cfg.H_cycles}, L = {cfg.L_cycles}, up to {cfg.halt_max_steps} supervision steps",
        "parameters": f"{metrics['parameters']:,}",
        "weights file": f"{metrics['safetensors_bytes']:,} bytes ({metrics['stored_weights']}; H_init, L_init bf16)",
        "licence": "Apache-2.0 (weights and puzzles; both made by the scripts of this project)",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())])


def model_card(metrics: dict, recipe: Recipe) -> str:
    task, train, held = recipe.task, recipe.train, metrics["held_out"]
    last = list(held["exact"])[-1]
    error = 100 * (held["exact"][last] * (1 - held["exact"][last]) / held["n"]) ** 0.5
    given = "-".join(map(str, task.givens))
    test_given = "-".join(map(str, task.test_givens))
    option = f" --minutes {metrics['minutes_option']:g}" if metrics["minutes_option"] else ""
    drawn = "a random symmetry" if task.n == 4 else "cells of the solution given back, then a random symmetry"
    measured = "" if held["n"] == recipe.export.test_slice else f", of which the first {held['n']} were measured"
    unfinished = "" if metrics["finished"] else "\n**An early snapshot: training was still running.**\n"

    harder = ""
    if task.test_givens[0] < task.givens[0]:
        harder = f"Puzzles with fewer than {task.givens[0]} givens were not trained on."
    about_figures = paragraph(f"""
        Puzzles solved completely, in %, after a number of supervision steps. Held-out puzzles with {test_given} givens,
        computed in {metrics["compute"]} from the weights as stored. *Early exit* stops at the first step whose halting
        logit is above zero. {harder} {SPLIT[task.n]}""")
    about_errors = paragraph(f"""
        Standard error of the figure after {last} steps: {error:.1f} points. Cells include the givens, as in the
        original metric. After the last step the halting head is right about "solved or not" for
        {pct(held["halt_head_accuracy"])} % of the puzzles.""")
    origin = "Trained from random weights."
    if train.grow_from:
        origin = f"""Not trained from random weights: grown from the finished `{train.grow_from}`, every channel and
            hidden unit copied with noise that cancels (`examples/training/grow.py`), then trained on as said here. So
            its accuracy says little about what this size can learn by itself; use it for its shape and its cost."""
    about_training = paragraph(f"""
        {origin}
        {metrics["optimizer_steps"]:,} optimizer steps of {metrics["batch"]} sequences in {metrics["minutes"]:g} minutes
        on {count(metrics["torch_threads"], "CPU thread")} (a core with AVX512-BF16, shared with other work). Puzzles
        with {given} givens are drawn on the fly from {task.pool:,} base puzzles: {drawn}. Deep supervision with
        detached carry, stablemax cross entropy plus half the halting loss, AdamATan2 (lr {train.lr:g} with warm-up and
        cosine to {train.lr_min_ratio:g} of it, decoupled weight decay {train.weight_decay:g}), EMA {train.ema:g} of the
        weights, which is what is stored. The puzzle embedding (one row) is trained by the same optimizer, where the
        original code uses sign-SGD. The last snapshot is shipped: none was chosen by its test accuracy. See
        `recipe.toml` and `curves.png`; all figures above are in `metrics.json`.""")
    about_limits = paragraph("""
        One puzzle size, and givens as in the tables: with fewer givens than trained on, or several solutions, expect
        wrong grids. The model can be confidently wrong: check a grid before you rely on it. Trained for minutes, not
        tuned for the best accuracy.""")
    return f"""# {recipe.name}

{recipe.title}. A recursive reasoner (TRM, Tiny Recursive Model) trained for recurc's examples and tests.
{unfinished}
{facts_table(metrics, recipe)}

## Accuracy

{about_figures}

{accuracy_table(held)}

{about_errors}

## How it was trained

```
python examples/train.py examples/recipes/{recipe.name}.toml{option}
```

{about_training}

## Limits

{about_limits}

## Files

`data/train`: {recipe.export.train_slice} training puzzles for calibration.
`data/test`: {recipe.export.test_slice} held-out puzzles{measured}.
"""
