"""The model card, a pure function of the measured figures and the recipe."""

from __future__ import annotations

from .recipe import Recipe

SPLIT = {
    4: "The split is by puzzle: there are only two essentially different 4x4 solution grids, so the test set shares "
    "solution grids with training, but no test puzzle is a symmetry of a training puzzle.",
    6: "The split is by solution grid: of the 49 essentially different 6x6 grids, those of the test set occur in no "
    "training puzzle, under any symmetry.",
    9: "The split is by solution grid: no test grid is a symmetry (digits, rows, columns, bands, stacks, transposition) "
    "of a training grid.",
}


def pct(x: float) -> str:
    return f"{100 * x:.1f}"


def model_card(metrics: dict, recipe: Recipe) -> str:
    cfg, task, held = recipe.model, recipe.task, metrics["held_out"]
    n, steps = task.n, list(held["exact"])
    mixer = "MLP over positions" if cfg.mlp_t else f"attention, {cfg.num_heads} heads, {cfg.pos_encodings} positions"
    error = 100 * (held["exact"][steps[-1]] * (1 - held["exact"][steps[-1]]) / held["n"]) ** 0.5
    unfinished = "" if metrics["finished"] else "\n**An early snapshot: training was still running.**\n"
    head = "| | " + " | ".join(f"{s} step{'s' * (s != '1')}" for s in steps) + " | early exit | its mean steps |"
    lines = [
        f"| all {held['n']} puzzles | " + " | ".join(pct(held["exact"][s]) for s in steps)
        + f" | {pct(held['early_exit_exact'])} | {held['early_exit_steps']:.1f} |",
    ]
    for b in held["buckets"]:
        low, high = b["givens"]
        label = f"{low} givens" if low == high else f"{low}-{high} givens"
        lines.append(
            f"| {label} ({b['n']}) | " + " | ".join(pct(b["exact"][s]) for s in steps)
            + f" | {pct(b['early_exit_exact'])} | {b['early_exit_steps']:.1f} |"
        )
    cells = "| cells right, all | " + " | ".join(pct(held["cell"][s]) for s in steps) + " | | |"
    table = "\n".join([head, "|" + "---|" * (len(steps) + 3), *lines, cells])
    option = f" --minutes {metrics['minutes_option']:g}" if metrics["minutes_option"] else ""
    given = "-".join(map(str, task.givens))
    test_given = "-".join(map(str, task.test_givens))
    return f"""# {recipe.name}

{recipe.title}. A recursive reasoner (TRM, Tiny Recursive Model) trained from scratch for recurc's examples and tests.
{unfinished}
| | |
|---|---|
| task | Sudoku {n}x{n}, tokens 0 PAD, 1 blank, digit d -> d + 1 (vocabulary {cfg.vocab_size}) |
| model | hidden {cfg.hidden_size}, {cfg.L_layers} layer{'s' * (cfg.L_layers > 1)}, {mixer}, expansion {cfg.expansion:g}, {cfg.puzzle_rows} puzzle row{'s' * (cfg.puzzle_rows > 1)} |
| recursion | H = {cfg.H_cycles}, L = {cfg.L_cycles}, up to {cfg.halt_max_steps} supervision steps |
| parameters | {metrics['parameters']:,} |
| weights file | {metrics['safetensors_bytes']:,} bytes ({metrics['stored_weights']}; H_init and L_init bfloat16) |
| licence | Apache-2.0 (weights and puzzles; both made by the scripts of this folder) |

## Accuracy

Puzzles solved completely, in %, after a number of supervision steps. Held-out puzzles with {test_given} givens, computed in
{metrics['compute']} from the weights as stored. *Early exit* stops at the first step whose halting logit is above zero.
{SPLIT[n]}

{table}

Standard error of the figure after {steps[-1]} steps: {error:.1f} points. Cells include the givens, as in the original metric. After the last
step the halting head says rightly whether the puzzle is solved for {pct(held['halt_head_accuracy'])} % of the puzzles.

## How it was trained

```
python examples/train.py examples/recipes/{recipe.name}.toml{option}
```

{metrics['optimizer_steps']:,} optimizer steps of {metrics['batch']} sequences in {metrics['minutes']:g} minutes on {metrics['torch_threads']} CPU thread{'s' * (metrics['torch_threads'] > 1)} (a core with AVX512-BF16, shared with
other work). Puzzles with {given} givens are drawn on the fly from {task.pool:,} base puzzles: {'a' if n == 4 else 'cells of the solution given back, then a'}
random symmetry. Deep supervision with detached carry, stablemax cross entropy plus half the halting loss, AdamATan2
(lr {recipe.train.lr:g} with warm-up and cosine to {recipe.train.lr_min_ratio:g} of it, decoupled weight decay {recipe.train.weight_decay:g}), EMA {recipe.train.ema:g} of the weights, which
is what is stored. The puzzle embedding (one row) is trained by the same optimizer, where the original code uses sign-SGD. The last
snapshot is shipped: none was chosen by its test accuracy. See `recipe.toml`, `curves.png`; all figures above are in `metrics.json`.

## Limits

One puzzle size, and givens as in the tables: with fewer givens than trained on, or several solutions, expect wrong grids. The model can
be confidently wrong; check a grid before you rely on it. Trained for minutes, not tuned for the best accuracy.

## Files

`data/train`: {recipe.export.train_slice} training puzzles for calibration. `data/test`: {recipe.export.test_slice} held-out puzzles{'' if held['n'] == recipe.export.test_slice else f", of which the first {held['n']} were measured"}.
"""
