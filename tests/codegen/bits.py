"""Where an engine and the twin differ."""

from __future__ import annotations

from recurc.noise import Noise
from recurc.quant.twin import Twin
from tests.randmodels import random_inputs

TENSORS = ("z_H", "z_L", "logits", "q", "tokens")


def differences(model, reasoner, engines: dict, steps: int = 2) -> list[str]:
    """What differs between the twin and each engine, after begin and after every step."""
    inputs, ids = random_inputs(reasoner, 2)
    twin, found = Twin(model), []
    twin.begin(inputs, ids)
    lanes = [
        (f"{name}[{i}]", i, engine if i == 0 else engine.clone())
        for name, engine in engines.items()
        for i in range(len(inputs))
    ]
    for _, i, engine in lanes:
        engine.begin(inputs[i], int(ids[i]))
    for step in range(steps + 1):
        for name, i, engine in lanes:
            for tensor in TENSORS if step else TENSORS[:2]:
                if getattr(twin, tensor)[i].tobytes() != engine.tensor(tensor).tobytes():
                    found.append(f"{name} step {step}: {tensor}")
            assert (engine.tensor("input") == inputs[i]).all()
        if step < steps:
            twin.step()
            for _, _, engine in lanes:
                engine.step()
    return found + _noisy(twin, inputs, ids, {name: e for name, e in engines.items() if name == "host"})


def _noisy(twin: Twin, inputs, ids, engines: dict) -> list[str]:
    """The same after noise, which all code for this computer can add, and a step."""
    twin.begin(inputs, ids)
    for noise in (Noise(0.7, "start", 3), Noise(0.2, "step", 4)):
        twin.add_noise(noise, 2)
    states = dict(twin.states)
    twin.step()
    found = []
    for name, engine in engines.items():
        engine.begin(inputs[0], int(ids[0]))
        for noise in (Noise(0.7, "start", 3), Noise(0.2, "step", 4)):
            engine.add_noise(noise, 2)
        found += [f"{name} noise: {t}" for t, z in states.items() if z[0].tobytes() != engine.tensor(t).tobytes()]
        engine.step()
        found += [f"{name} noisy step: {t}" for t in TENSORS if getattr(twin, t)[0].tobytes() != engine.tensor(t).tobytes()]
    return found
