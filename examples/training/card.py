"""The model card, a pure function of the measured figures and the recipe.

What a kind of task says of itself comes from `card_sudoku.py`, `card_maze.py` and `card_arc.py`; the rest is here, the same
for all.
"""

from __future__ import annotations

from collections.abc import Callable

from . import card_arc, card_maze, card_sudoku
from .card_text import CardTexts, count, paragraph, pct
from .recipe import Recipe

FAMILIES = {"trm": "TRM, Tiny Recursive Model", "hrm": "HRM, Hierarchical Reasoning Model"}
KINDS = {"sudoku": card_sudoku.texts, "arc": card_arc.texts, "maze": card_maze.texts}


def accuracy_table(held: dict, name: Callable[[dict], str]) -> str:
    """Rows: all puzzles, each bucket by its `name`, cells; columns: steps, early exit."""
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
        lines.append(row(f"{name(bucket)} ({bucket['n']})", bucket))
    lines.append(f"| cells right, all | {' | '.join(pct(held['cell'][s]) for s in steps)} | | |")
    return "\n".join(lines)


def facts_table(metrics: dict, recipe: Recipe, texts: CardTexts) -> str:
    cfg = recipe.model
    mixer = "MLP over positions"
    if not cfg.mlp_t:
        mixer = f"attention, {cfg.num_heads} heads, {cfg.pos_encodings} positions"
    layers = count(cfg.L_layers, "layer")
    if cfg.H_layers:
        layers = f"{count(cfg.H_layers, 'layer')} in H_level and {cfg.L_layers} in L_level"
    shape = f"hidden {cfg.hidden_size}, {layers}, {mixer}, expansion {cfg.expansion:g}, {count(cfg.puzzle_rows, 'puzzle row')}"
    facts = {
        "task": texts.task,
        "model": shape,
        "recursion": f"H = {cfg.H_cycles}, L = {cfg.L_cycles}, up to {cfg.halt_max_steps} supervision steps",
        "parameters": f"{metrics['parameters']:,}",
        **texts.facts,
        "weights file": f"{metrics['safetensors_bytes']:,} bytes ({metrics['stored_weights']}; H_init, L_init bf16)",
        "licence": texts.licence,
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())])


def model_card(metrics: dict, recipe: Recipe) -> str:
    train, held = recipe.train, metrics["held_out"]
    texts = KINDS[recipe.task.kind](metrics, recipe)
    last = list(held["exact"])[-1]
    error = 100 * (held["exact"][last] * (1 - held["exact"][last]) / held["n"]) ** 0.5
    option = f" --minutes {metrics['minutes_option']:g}" if metrics["minutes_option"] else ""
    unfinished = "" if metrics["finished"] else "\n**An early snapshot: training was still running.**\n"
    about_errors = paragraph(f"""
        Standard error of the figure after {last} steps: {error:.1f} points{texts.error_note}. {texts.cells_note}, as in the
        original metric. After the last step the halting head is right about "solved or not" for
        {pct(held["halt_head_accuracy"])} % of the puzzles.""")
    origin = "Trained from random weights."
    if train.grow_from:
        origin = f"""Not trained from random weights: grown from the finished `{train.grow_from}`, every channel and
            hidden unit copied with noise that cancels (`examples/training/grow.py`), then trained on as said here. So
            its accuracy says little about what this size can learn by itself; use it for its shape and its cost."""
    continuing = " and half the loss of q_continue (target: the next step)" if recipe.model.family == "hrm" else ""
    about_training = paragraph(f"""
        {origin}
        {metrics["optimizer_steps"]:,} optimizer steps of {metrics["batch"]} sequences in {metrics["minutes"]:g} minutes
        on {count(metrics["torch_threads"], "CPU thread")} (a core with AVX512-BF16, shared with other work).
        {texts.drawn} Deep supervision with
        detached carry, stablemax cross entropy plus half the halting loss{continuing},
        AdamATan2 (lr {train.lr:g} with warm-up and cosine to
        {train.lr_min_ratio:g} of it, decoupled weight decay {train.weight_decay:g}), EMA {train.ema:g} of the
        weights, which is what is stored. {texts.rows} The last snapshot is shipped: none was chosen by its test accuracy. See
        `recipe.toml` and `curves.png`; all figures above are in `metrics.json`.""")
    sections = "".join(f"## {title}\n\n{text}\n\n" for title, text in texts.sections)
    return f"""# {recipe.name}

{recipe.title}. A recursive reasoner ({FAMILIES[recipe.model.family]}) trained for recurc's examples and tests.
{unfinished}
{facts_table(metrics, recipe, texts)}

## Accuracy

{paragraph(texts.figures)}

{accuracy_table(held, texts.bucket)}

{about_errors}

{sections}## How it was trained

```
python examples/train.py examples/recipes/{recipe.name}.toml{option}
```

{about_training}

## Limits

{paragraph(texts.limits)}

## Files

{texts.files}
"""
