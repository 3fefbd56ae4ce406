"""What the card of a maze model says of its task."""

from __future__ import annotations

from .card_text import CardTexts, count, halting_rule
from .recipe import Recipe


def texts(metrics: dict, recipe: Recipe) -> CardTexts:
    task, held = recipe.task, metrics["held_out"]
    low, high = task.test_steps
    measured = "" if held["n"] == recipe.export.test_slice else f", of which the first {held['n']} were measured"
    small = ""
    if task.small:
        sides = ", ".join(map(str, task.small))
        small = f"As often as full ones smaller mazes, of side {sides}, somewhere in a square of walls, to learn from."
    blind = "" if task.loops else "Without loops there is one way only, so no distances are compared."
    return CardTexts(
        task=f"maze {task.side}x{task.side}, mark the shortest path; tokens 0 PAD, 1 wall, 2 floor, 3 start, 4 goal, "
        f"5 path (vocabulary {recipe.model.vocab_size})",
        licence="Apache-2.0 (weights and puzzles; both made by the scripts of this project)",
        figures=f"""
            Mazes solved completely, in %, after a number of supervision steps. Held-out mazes whose shortest path has
            {low} to {high} steps, computed in {metrics["compute"]} from the weights as stored. *Early exit* stops at the
            first step {halting_rule(recipe.model.family)}. Each maze has {count(task.loops, "wall")} opened beside its
            spanning tree and exactly one shortest path. {blind} The split is by the walls: no test maze is a training
            maze turned or mirrored, whatever start and goal.""",
        bucket=lambda b: f"{b['steps'][0]}-{b['steps'][1]} steps",
        drawn=f"""Mazes are drawn on the fly, start and goal at random with {task.steps[0]} to {task.steps[1]} steps between
            them. {small}""",
        rows="""The puzzle embedding (one row) is trained by the same optimizer, where the original code uses sign-SGD.""",
        limits="""
            One size of maze, from one generator (few loops): expect wrong paths in mazes that look
            otherwise. It can be confidently wrong: check a path before you rely on it. Most cells are copied from the input,
            so a high share of right cells says little. Trained for minutes, not tuned for the best accuracy.""",
        files=f"`data/train`: {recipe.export.train_slice} training mazes for calibration.\n"
        f"`data/test`: {recipe.export.test_slice} held-out mazes{measured}.",
        cells_note="Cells include walls and floor",
    )
