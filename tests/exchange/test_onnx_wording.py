"""What agrees with onnxruntime is said by its name: carries within a tolerance, answers token by token."""

from types import SimpleNamespace

from recurc.cli.common.onnxruntime import agreement_text
from recurc.exchange.onnx_verify import OnnxPuzzle, OnnxResult, document


def result(*differing: tuple[int, int], distance: float = 1e-4) -> OnnxResult:
    """Puzzles of two steps with so many tokens that differ over both steps, and after the last."""
    return OnnxResult(
        1e-2,
        "int8",
        tuple(OnnxPuzzle(i, 2, distance, 0.1, every, last, 81, 81 - last, 81) for i, (every, last) in enumerate(differing)),
    )


def test_carries_agree_where_tokens_differ():
    found = result((5, 2), (2, 0), (0, 0), (4, 1))
    assert found.agrees and found.matched == 4 and found.same_answers == 2
    carry, answers = agreement_text(found)
    assert carry.startswith("the carry agrees with the host engine's in 4 of 4 puzzles") and "1.0e-04 (tolerance 0.01)" in carry
    assert answers == (
        "answers are equal, token by token after the last step, in 2 of 4 puzzles; "
        "of 648 tokens after all these steps 11 differ"
    )


def test_json_says_it_too():
    told = document(result((5, 2), (0, 0), distance=0.5), SimpleNamespace(target="host"), 0)
    assert told["agreement"] == {
        "of": "z_H after every step, each begun from the engine's carry", "measure": "1 - cosine", "tolerance": 1e-2,
        "worst": 0.5, "puzzles": 0, "answers_equal": 1, "tokens_differing": 5, "tokens_compared": 324,
    }  # fmt: skip
    assert told["matched"] == 0 and [p["answer_differing"] for p in told["puzzles"]] == [2, 0]
