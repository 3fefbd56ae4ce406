"""`recurc verify --on onnxruntime`: the build's stored model in onnxruntime beside its host engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recurc.cli.common.live import accuracy_text, exact_text
from recurc.cli.common.output import Console
from recurc.errors import MismatchError

if TYPE_CHECKING:
    from recurc.build.manifest import Build
    from recurc.dataset import Dataset
    from recurc.exchange.onnx_verify import OnnxResult


def agreement_text(result: OnnxResult) -> list[str]:
    """What agrees with the host engine, and what does not have to: sentences."""
    n, worst = result.n, max(p.distance for p in result.puzzles)
    differing = sum(p.tokens_differing for p in result.puzzles)
    compared = sum(p.tokens * p.steps for p in result.puzzles)
    tokens = f"of {compared:,} tokens after all these steps {differing:,} differ"
    return [
        f"the carry agrees with the host engine's in {result.matched} of {n} puzzles: after every step, each begun from the "
        f"engine's carry, 1 - cosine of z_H is at most {worst:.1e} (tolerance {result.tolerance:g})",
        f"answers are equal, token by token after the last step, in {result.same_answers} of {n} puzzles; {tokens}",
    ]


def verify_on_onnxruntime(console: Console, build: Build, dataset: Dataset, steps: int | None, offset: int) -> None:
    """Run, print, and say whether they agree.

    Raises:
        MismatchError: z_H is farther from the host engine's than the tolerance. ToolchainError: onnxruntime is missing.
    """
    from recurc.exchange.onnx_export import require
    from recurc.exchange.onnx_verify import document, verify_onnx

    require("onnx", "onnxruntime")
    with console.progress("on onnxruntime", len(dataset) * (steps or build.steps), "steps") as advance:
        result = verify_onnx(
            build, dataset, steps, offset=offset, progress=lambda puzzle, step: advance(1, note=f"puzzle {puzzle}, step {step}")
        )
    console.emit_json(document(result, build, offset))
    worst = max(p.distance for p in result.puzzles)
    if not console.json:
        console.table(
            (
                "puzzle",
                "steps",
                "cells",
                "exact",
                "1 - cosine of z_H",
                "largest difference",
                "tokens differing",
                "in the answer",
            ),
            [
                (
                    p.index,
                    p.steps,
                    f"{p.right}/{p.cells}",
                    exact_text(p.exact, p.cells),
                    f"{p.distance:.1e}",
                    f"{p.largest:.1e}",
                    p.tokens_differing,
                    p.answer_differing,
                )
                for p in result.puzzles
            ],
            least=("exact", "cells", "largest difference"),
        )
        for text in agreement_text(result):
            console.print(text)
        console.print(accuracy_text(result))
    if not result.agrees:
        raise MismatchError(
            "onnxruntime's results differ from the host engine's",
            where=str(build.path),
            why=f"1 - cosine of z_H reaches {worst:.2g} after a step, the tolerance is {result.tolerance:g}",
            next="One of the two is wrong: please report it with this line",
        )
