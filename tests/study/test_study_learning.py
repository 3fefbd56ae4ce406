"""Training with and without the quantizer in the loop: gradients straight through, the recursion, the schedule, the store."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recurc.models.reference import Reference
from recurc.quant.weights import precision_named
from recurc.study import compressions, learning
from recurc.study.compressions import distillation, fine_tuning, quantization_aware, schooled, with_linear_attention
from recurc.study.fake import FakeModel
from recurc.study.learning import IGNORED, Learner, Recipe, StraightThrough, batches, cross_entropy, learn
from recurc.study.store import Store
from tests.models.tolerances import Rounding
from tests.randmodels import random_inputs, random_reasoner
from tests.study.bench import split

BRIEF = Recipe(3, 1e-3, batch=4, supervision=2)


def naive(name, w):
    return torch.from_numpy(precision_named("int4-naive").quantize(w.numpy(), None, "none").dequantized())


def puzzles(model, n=12):
    inputs, ids = random_inputs(model, n)
    c = model.config
    return replace(
        split("train").take(n),
        inputs=inputs,
        labels=inputs[:, ::-1].astype(np.int32),
        puzzle_ids=ids,
        seq_len=c.seq_len,
        vocab_size=c.vocab_size,
        num_puzzle_identifiers=c.num_puzzle_identifiers,
        ignore_label_id=0,
    )


def tensors(data):
    return torch.from_numpy(data.inputs.astype(np.int64)), torch.from_numpy(data.puzzle_ids.astype(np.int64))


def test_the_gradient_passes_the_rounding_as_if_there_were_none():
    x = torch.tensor([0.3, -1.2, 2.6], requires_grad=True)
    y = StraightThrough.apply(x, x.detach().round())
    assert y.tolist() == [0, -1, 3]
    (y * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [1, 10, 100]


@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
def test_the_step_that_learns_is_the_step_that_runs(mixer):
    model = random_reasoner(mixer, steps=2)
    inputs, ids = random_inputs(model, 3)
    pupil = Learner(model)
    tokens = torch.from_numpy(inputs.astype(np.int64))
    carry = pupil.start(tokens, torch.from_numpy(ids))
    rounding = Rounding(model, inputs, ids, 2)
    for step in (1, 2):
        carry, logits = pupil.learn_step(tokens, torch.from_numpy(ids), carry)
        rounding.check("logits", step, logits.detach())
        rounding.check("z_H", step, carry[0])
        assert not carry[0].requires_grad


def test_the_quantizer_is_in_the_loop():
    model = random_reasoner("mlp_t", steps=1)
    data = puzzles(model)
    weights = {n: naive(n, torch.from_numpy(model.tensors[n])).numpy() for n in model.linear_names()}
    state = next(iter(FakeModel(model, weights, "int8-row").steps(data.inputs, data.puzzle_ids, 1)))
    pupil = Learner(model, naive, "int8-row")
    _, logits = pupil.learn_step(*tensors(data), pupil.start(*tensors(data)))
    assert torch.allclose(logits, state.logits, atol=1e-4), "what trains is what runs after it"
    assert not torch.allclose(logits, next(iter(Reference(model).steps(data.inputs, data.puzzle_ids, 1))).logits, atol=1e-2)
    logits.square().sum().backward()
    name = "L_level.layers.0.mlp.down_proj.weight"
    assert pupil.w[name].grad.abs().max() > 0
    assert torch.equal(pupil.w[name], torch.from_numpy(model.tensors[name])), "the weights that learn are not the rounded ones"


def test_weights_are_rounded_once_an_update():
    model, calls = random_reasoner("mlp_t", cycles=(2, 3)), []
    data = puzzles(model)
    pupil = Learner(model, lambda name, w: calls.append(name) or w.round(), "int8-row")
    pupil.learn_step(*tensors(data), pupil.start(*tensors(data)))
    assert sorted(calls) == sorted(model.linear_names())


def test_training_lowers_the_loss_with_the_quantizer_too():
    model = random_reasoner("mlp_t", steps=2)
    for rounding in (None, naive):
        losses = learn(Learner(model, rounding, "int8-row"), puzzles(model, 4), Recipe(12, 1e-2, batch=4, supervision=1))
        assert len(losses) == 12 and np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_cells_that_do_not_count_teach_nothing():
    logits, labels = torch.randn(1, 3, 5), torch.tensor([[1, IGNORED, 2]])
    other = logits.clone()
    other[0, 1] += torch.randn(5)
    assert cross_entropy(logits, labels) == cross_entropy(other, labels)
    data = puzzles(random_reasoner("mlp_t"))
    _, _, found = next(batches(data, BRIEF))
    assert (found == IGNORED).any() and 0 not in found


def test_the_rate_rises_then_falls():
    recipe = Recipe(100, 1e-3)
    rates = [recipe.rate(i) for i in range(100)]
    assert rates[0] == 1e-4 and max(rates) == rates[9] == 1e-3 and rates[-1] < 1e-6
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(
    "how", [distillation(BRIEF), fine_tuning(BRIEF), quantization_aware("int4-naive", BRIEF)], ids=lambda how: how.what
)
def test_what_was_trained_is_kept_by_content(how, tmp_path, monkeypatch):
    model, count = random_reasoner("mlp_t"), []
    data, store = puzzles(model), Store(tmp_path)
    first, losses = schooled(model, data, how, store, count.append)
    assert count == [1, 1, 1]
    monkeypatch.setattr(compressions, "learn", lambda *a: pytest.fail("trained again"))
    again, kept = schooled(model, data, how, store, count.append)
    assert count == [1, 1, 1, 3] and kept == losses and again.sha256 == first.sha256 != model.sha256
    assert all(np.array_equal(again.tensors[n], first.tensors[n]) for n in first.tensors)
    monkeypatch.setattr(compressions, "learn", learning.learn)
    other, _ = schooled(model, data.take(8), how, store)
    assert other.sha256 != first.sha256, "other puzzles, another model"


def test_training_begins_with_the_checkpoint_and_repeats():
    model = random_reasoner("attention")
    data = puzzles(model)
    same, _ = schooled(model, data, fine_tuning(replace(BRIEF, lr=0.0)))
    assert all(np.array_equal(same.tensors[n], model.tensors[n]) for n in model.tensors)
    one, two = (schooled(model, data, with_linear_attention(BRIEF))[0] for _ in range(2))
    assert one.attention == "linear" and all(np.array_equal(one.tensors[n], two.tensors[n]) for n in one.tensors)
    assert any(not np.array_equal(one.tensors[n], model.tensors[n]) for n in model.linear_names())
