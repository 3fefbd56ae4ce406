"""What the card of an ARC model says of its tasks."""

from __future__ import annotations

from .card_text import CardTexts, halting_rule, paragraph, pct
from .recipe import Recipe


def rule_table(metrics: dict) -> str:
    """Rows: the rules; exact accuracy of their held-out pairs, and the tasks that the vote solves."""
    buckets, solved = metrics["held_out"]["buckets"], set(metrics["votes"]["solved"])
    lines = ["| rule | tasks | held-out pairs | exact | solved by vote |", "|---|---|---|---|---|"]
    for rule in dict.fromkeys(b["rule"] for b in buckets):
        own = [b for b in buckets if b["rule"] == rule]
        n = sum(b["n"] for b in own)
        exact = sum(b["n"] * list(b["exact"].values())[-1] for b in own) / n
        won = sum(b["task"] in solved for b in own)
        lines.append(f"| {rule} | {len(own)} | {n} | {pct(exact)} | {won} of {len(own)} |")
    return "\n".join(lines)


def texts(metrics: dict, recipe: Recipe) -> CardTexts:
    task, cfg, held = recipe.task, recipe.model, metrics["held_out"]
    last = list(held["exact"])[-1]
    wrong, votes, plain, seen = (metrics[k] for k in ("wrong_rows", "votes", "plain_pairs", "train_pairs"))
    table = metrics["identifiers"] * cfg.puzzle_emb_ndim
    about_rows = paragraph(f"""
        The input is one grid, without demonstrations: the rule stands in the puzzle's row of the embedding and nowhere
        else. Exact accuracy of the same {held["n"]} held-out pairs after {last} steps with the right row:
        {pct(held["exact"][last])} %; with the row of the same task in another augmentation (wrong colours or orientation):
        {pct(wrong["other_augmentation"])} %; with a row of another task: {pct(wrong["other_task"])} %.""")
    about_votes = paragraph(f"""
        As ARC is scored: every augmentation's answer is turned back, and the most frequent one counts. So {votes["first"]}
        of the {votes["tasks"]} tasks are solved with one answer, {votes["second"]} with two. Of the test pairs of the tasks
        as they are, without any vote, {pct(plain["exact"])} % are right ({plain["n"]} pairs); of the {seen["n"]} training
        pairs in `data/train`, {pct(seen["exact"])} %.""")
    blind = ""
    if held["halt_head_accuracy"] < held["exact"][last] + 0.05:  # no better than always saying "solved"
        blind = f"""The halting head learnt from demonstrations, of which nearly all end up solved: on held-out pairs it stops
            after {held["early_exit_steps"]:.1f} steps whether the answer is right or not, and more steps hardly change it."""
    return CardTexts(
        task=f"ARC-AGI-1, {metrics['tasks']} tasks on a canvas of {task.canvas} x {task.canvas}, tokens 0 PAD, "
        f"1 end of grid, colour c -> c + 2 (vocabulary {cfg.vocab_size})",
        licence="Apache-2.0 (weights: made by the scripts of this project; tasks: ARC-AGI-1 by François Chollet, "
        "https://github.com/fchollet/ARC-AGI, Apache-2.0)",
        facts={
            "puzzle embedding": f"{metrics['identifiers']:,} identifiers x {cfg.puzzle_emb_ndim}, {4 * table:,} bytes as "
            f"fp32; the other {metrics['parameters'] - table:,} parameters are the model"
        },
        figures=f"""
            Pairs solved completely, in %, after a number of supervision steps: the test pairs of each task as it is and
            of {task.augmentations} augmentations, computed in {metrics["compute"]} from the weights as stored. *Early
            exit* stops at the first step {halting_rule(cfg.family)}. Only demonstrations were trained on; no test
            pair is a demonstration of its task turned, mirrored or in other colours. But the rule of every test pair was
            trained on, in the same colours and orientation: this is what the puzzle's row stands for, as in the original.
            Each task has a row in the table.""",
        bucket=lambda b: f"{b['task']}, {b['rule']}",
        cells_note="Padded cells do not count",
        error_note=", as if the pairs were independent; the augmentations of a task are not",
        sections=(("What the puzzle rows do", about_rows), ("By rule", f"{rule_table(metrics)}\n\n{about_votes}")),
        drawn=f"""Every sequence is a demonstration: a random task, one of its {task.augmentations + 1} puzzles, one pair,
            moved on the canvas at random. {metrics["demonstrations"]:,} demonstrations in all.""",
        rows=f"""The puzzle rows start at zero and are trained by sign-SGD (lr {recipe.train.puzzle_emb_lr:g} on the same
            schedule, decoupled weight decay {recipe.train.puzzle_emb_weight_decay:g}), as in the original; they are not
            averaged. Sizes, tasks and the rows' learning rate were settled in short pilot runs by their training figures, the
            choice between two rates also by held-out accuracy after five minutes.""",
        limits=f"""
            These {metrics["tasks"]} tasks, chosen for small grids and simple rules (see
            `examples/arc-agi-1/README.md`), and no others: a new task has no row, and rows are only made by training.
            Nothing here says anything about ARC as a whole. Where the table shows a low figure, the model has learnt the
            demonstrations and not the rule. {blind} It can be confidently wrong: check a grid before you rely on it.""",
        files=f"""`data/train`: {recipe.export.train_slice} training pairs for calibration.
`data/test`: {held["n"]} held-out pairs; those of the tasks as they are come first.
`data/identifiers.json`: the names of the puzzle rows, `task|||t<turn>|||<colours>`.
`data/test_puzzles.json`: the tasks.""",
    )
