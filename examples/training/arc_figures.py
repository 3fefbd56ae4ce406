"""What is measured of an ARC model besides the accuracy on held-out pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from .arc import ArcData, decode, parse_name
from .evaluate import score
from .puzzles import Puzzles

Predict = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # (inputs, ids) -> tokens, q; see evaluate.predict


def figures(
    data: ArcData, predict: Predict, train: Puzzles, test: Puzzles, answers: np.ndarray, q: np.ndarray
) -> dict:  # fmt: skip
    """Shares 0..1, after the last step; `answers` [N, seq_len] and `q` [N] are that step's for the held-out pairs.

    train_pairs: of the shipped training pairs. wrong_rows: the held-out pairs with another puzzle's row. votes: per task, after
    every augmentation's answer was turned back; `first` = the most frequent answer is right, `second` = one of the two is.
    """
    right = score(answers[:, None], test.labels)[1][:, 0]
    wrong = {}
    for name, ids in (("other_task", other_task(data, test.ids)), ("other_augmentation", other_augmentation(data, test.ids))):
        exact = score(predict(test.inputs, ids)[0], test.labels)[1][:, -1]
        wrong[name] = float(exact.mean())
    seen = score(predict(train.inputs, train.ids)[0], train.labels)
    plain = np.array([data.names[i] in data.tasks for i in test.ids])
    return {
        "tasks": len(data.groups),
        "identifiers": len(data.names),
        "demonstrations": sum(len(p.train) for group in data.groups for p in group),
        "train_pairs": {"n": len(train.ids), "exact": float(seen[1][:, -1].mean()), "cell": float(seen[0][:, -1].mean())},
        "plain_pairs": {"n": int(plain.sum()), "exact": float(right[plain].mean())},
        "wrong_rows": wrong,
        "votes": votes(data, test, answers, q),
    }


def other_task(data: ArcData, ids: np.ndarray) -> np.ndarray:
    """For each identifier, that of a puzzle of another task (the same augmentation number, a fixed distance away)."""
    place = {i: (g, k) for g, group in enumerate(data.groups) for k, i in enumerate(data.ids[p.name] for p in group)}
    shift = max(1, len(data.groups) // 3)
    moved = []
    for i in ids:
        g, k = place[int(i)]
        group = data.groups[(g + shift) % len(data.groups)]
        moved.append(data.ids[group[k % len(group)].name])
    return np.array(moved, np.int32)


def other_augmentation(data: ArcData, ids: np.ndarray) -> np.ndarray:
    """For each identifier, that of the same task's next augmentation."""
    following = {}
    for group in data.groups:
        own = [data.ids[p.name] for p in group]
        following.update(zip(own, own[1:] + own[:1], strict=True))
    return np.array([following[int(i)] for i in ids], np.int32)


def votes(data: ArcData, test: Puzzles, tokens: np.ndarray, q: np.ndarray) -> dict:
    """Answers [N, seq_len] with halting logits [N], turned back and counted by test pair of each task.

    Answers rank by their count, then by their mean halting logit. A task is solved when all its test pairs are.
    """
    ballots: dict[tuple[str, bytes], dict[bytes, list[float]]] = defaultdict(lambda: defaultdict(list))
    for example, answer, logit, identifier in zip(test.inputs, tokens, q, test.ids, strict=True):
        task, how = parse_name(data.names[int(identifier)])
        asked = _key(how.undo(decode(example, data.canvas)))
        grid = decode(answer, data.canvas)
        if grid is not None:
            ballots[task, asked][_key(how.undo(grid))].append(float(logit))
    first, second, pairs = [], [], 0
    for name, task in data.tasks.items():
        ranks = []
        for pair in task["test"]:
            found = ballots[name, _key(np.array(pair["input"], np.uint8))]
            order = sorted(found, key=lambda a: (-len(found[a]), -np.mean(found[a])))
            solution = _key(np.array(pair["output"], np.uint8))
            ranks.append(order.index(solution) if solution in order else len(order) + 2)
            pairs += 1
        if max(ranks) == 0:
            first.append(name)
        if max(ranks) <= 1:
            second.append(name)
    return {"tasks": len(data.tasks), "pairs": pairs, "first": len(first), "second": len(second), "solved": first}


def _key(grid: np.ndarray) -> bytes:
    return bytes(grid.shape) + np.ascontiguousarray(grid, np.uint8).tobytes()
