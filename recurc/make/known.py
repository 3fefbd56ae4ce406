"""The known answer of a model, computed on the host engine; see `recurc.storage.known`."""

from __future__ import annotations

import zlib

import numpy as np

from recurc.errors import InputError
from recurc.quant.model import QuantizedModel
from recurc.storage.form import forms_of
from recurc.storage.known import KnownAnswer, most_steps, reduced_ops
from recurc.targets.host import HostEngine

_SEED = 1


def random_puzzle(model: QuantizedModel) -> np.ndarray:
    """Tokens [seq_len], uint8, the same for every model of this size."""
    c = model.config
    return np.random.default_rng(_SEED).integers(0, min(c.vocab_size, 256), c.seq_len, dtype=np.uint8)


def known_answer(engine: HostEngine, model: QuantizedModel, tokens: np.ndarray, puzzle_id: int = 0) -> KnownAnswer | None:
    """Run a puzzle. None where the model's first step leaves something that is not a finite number.

    Args:
        engine: of the model. tokens: [seq_len].

    Raises:
        InputError: the puzzle is not one of the model's.
    """
    engine = engine.clone()
    engine.begin(tokens, puzzle_id)
    ops = reduced_ops(model.program, forms_of(model.program, model.forms))
    engine.run_ops(ops)
    reduced, steps = zlib.crc32(engine.carry_bytes()), list[int]()
    for _ in range(most_steps(model.program)):
        try:
            engine.step()
        except InputError:
            break
        steps.append(step_crc(engine))
    if not steps:
        return None
    return KnownAnswer(puzzle_id, np.asarray(tokens, np.uint8).tobytes(), ops, reduced, tuple(steps))


def step_crc(engine: HostEngine) -> int:
    """CRC-32 over what a supervision step has left: carry as stored, logits, q, predicted tokens."""
    return zlib.crc32(engine.carry_bytes() + b"".join(engine.raw(name) for name in ("logits", "q", "tokens")))
