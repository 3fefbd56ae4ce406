"""What a supervision step does, counted from the program and its layout: every loop of the generated code, by class of work.

Nothing is measured here. `units` are counts of what costs instructions, named "GROUP:FEATURE": the group is the C file that a
kernel is in, or a part of the generated code ("load", "store", "glue"); `recurc.plan.cost` has instructions for each unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from recurc.ir.program import HEADS_NAME, LinearRef, Loop, Op, Program, Update, op_name
from recurc.ops import OpError, part
from recurc.ops.registry import part_of_kind, registered
from recurc.plan.kernels import IntKernel, KernelSet
from recurc.plan.layout import Layout, OpShape
from recurc.recursion import INPUT
from recurc.storage.form import Forms, forms_of


@dataclass(frozen=True)
class WorkClass:
    """A class of work: what tables call it, what it means, and its place among the others."""

    name: str
    meaning: str
    place: int = 50


HEADS, QUANTIZE, SILU, NORM, CARRY = "heads", "quantize", "SiLU", "norm", "carry"
_SHARED = (
    WorkClass(HEADS, "logits, halting, best tokens", 101),
    WorkClass(QUANTIZE, "activations to int8, a scale a row", 102),
    WorkClass(SILU, "SiLU(gate) * up", 103),
    WorkClass(NORM, "RMS norm", 104),
    WorkClass(CARRY, "z and X loaded, residuals added, z stored", 105),
)
_CARRY_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
_ACT_BYTES = {"int16_t": 2, "int8_t": 1}


@dataclass
class ClassWork:
    """Work of one class in one supervision step.

    macs: multiply-adds of the model (no padding). flash_bytes: weights, scales and tables, each tile of weights once a tile of
    rows; flash_again: what kernels without unpacking read of it again, a few rows at a time, which a data cache serves.
    ram_bytes: read from buffers and the carry. units: see above.
    """

    macs: int = 0
    flash_bytes: int = 0
    flash_again: int = 0
    ram_bytes: int = 0
    units: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class OpCall:
    """One op call, `times` a step: what is added to z before it ("plain": nothing, "source", "input": source and X)."""

    shape: OpShape
    times: int
    added: str


@dataclass(frozen=True)
class OpWork:
    """An op's part `work`: count(step, op, call) adds the work of a call to the step; classes: those of its own; row_macs: most
    multiply-adds that it does at once, between two calls of the hook, beside those of a tile of channels."""

    count: Callable[[Step, Any, OpCall], None]
    classes: tuple[WorkClass, ...] = ()
    row_macs: Callable[[Any, OpShape], int] = lambda op, shape: 0


def op_work(op: Op) -> OpWork:
    """An op's part `work`. Raises OpError where it has none."""
    return part(op, "work", OpWork)


def _in_order(parts: Iterable[OpWork]) -> tuple[WorkClass, ...]:
    found = {c.name: c for part in parts for c in part.classes}
    return tuple(sorted((*found.values(), *_SHARED), key=lambda c: (c.place, c.name)))


def work_classes() -> tuple[WorkClass, ...]:
    """All classes of work that a plan can have, in the order of tables: those of the known ops that say what they cost, then
    those that ops share."""
    found = []
    for kind in registered():
        with suppress(OpError):
            found.append(part_of_kind(kind, "work", OpWork))
    return _in_order(found)


def class_place(name: str) -> tuple[int, str]:
    """What classes are ordered by in tables. One of an op that is not known here, as a manifest may name it, stands among those
    of ops that do not say their place."""
    return next(((c.place, c.name) for c in work_classes() if c.name == name), (WorkClass.place, name))


def class_meaning(name: str) -> str:
    """What a class of work is, for people; it may be of an op that is not known here."""
    return next((c.meaning for c in work_classes() if c.name == name), "of an op that is not installed here")


class Step:
    """Adds up the work of a step. Every method counts `times` repetitions of one piece of generated code."""

    def __init__(self, program: Program, layout: Layout, forms: Forms, kernels: KernelSet) -> None:
        self.program, self.layout, self.forms, self.kernels = program, layout, forms_of(program, forms), kernels
        self.found = {c.name: ClassWork() for c in _in_order(op_work(op) for op in program.ops)}

    def kernel(self, ref: LinearRef) -> IntKernel | None:
        return self.kernels.of(self.forms[ref.name])

    def glue(self, ref: LinearRef) -> str:
        """The group of the generated code about a layer."""
        return "glue" if self.forms[ref.name].integer else "glue_f32"

    def units(self, name: str, group: str, **amounts: int) -> None:
        for feature, amount in amounts.items():
            self.found[name].units[f"{group}:{feature}"] += amount

    def fn(self, name: str) -> str:
        return self.kernels.fn(name)

    def product(self, name: str, ref: LinearRef, n: int, rows: int, times: int = 1) -> None:
        """n channels of a layer for a tile of rows: calls of the tile function, one after the other."""
        work, k, tile, kernel, form = self.found[name], ref.k, self.kernels.tile, self.kernel(ref), self.forms[ref.name]
        calls = -(-n // tile) * times
        work.macs += rows * k * n * times
        self.units(name, self.glue(ref), tile=calls)
        if kernel is None:
            self.units(name, self.kernels.f32, call=calls, output=rows * n * times, mac=rows * k * n * times)
            self.units(name, "rc_dot_f32", call=rows * n * times, mac=rows * k * n * times)
            work.flash_bytes += 4 * k * n * times
            work.flash_again += 4 * k * n * (rows - 1) * times
            work.ram_bytes += 4 * rows * k * n * times
            return
        kp, group = self.kernels.padded(k), kernel.tile
        rest = rows % kernel.rows
        codec = form.codec(self.kernels.weights)
        # Channels that are stored, and turns of as many as the kernel computes at a time: no more than the last one needs.
        channels = -(-n // codec.turn) * codec.turn * times
        lanes = kernel.lanes or codec.turn
        turns = -(-n // lanes) * times
        each = kp * lanes * turns
        self.units(name, group, call=calls, row=rows * turns, mac=(rows - rest) * each, rest=rest * each)
        passes = -(-rows // kernel.rows)
        packed = codec.tile_bytes(k) * channels // tile
        work.flash_bytes += packed + form.beside(k, self.kernels.weights) * n * times
        if kernel.scratch:
            self.units(name, kernel.unpack or group, call=calls, unpacked=kernel.unpacked(kp) * channels)
            work.ram_bytes += kernel.scratch_bytes(kp) * passes * calls
        else:
            work.flash_again += packed * (passes - 1)
        work.ram_bytes += _ACT_BYTES[kernel.act] * rows * kp * calls

    def inputs(self, ref: LinearRef, rows: int, times: int = 1) -> None:
        """fp32 rows to a layer's activations, if it takes quantized ones."""
        kernel = self.kernel(ref)
        if kernel is not None:
            self.quantize(rows, ref.k, times, kernel.quantize)

    def quantize(self, rows: int, n: int, times: int, name: str) -> None:
        """fp32 rows to int8; read twice."""
        self.units(QUANTIZE, name, call=times, row=rows * times, element=rows * n * times)
        self.found[QUANTIZE].ram_bytes += 8 * rows * n * times

    def silu(self, rows: int, n: int, times: int) -> None:
        calls = -(-n // self.kernels.tile) * times
        self.units(SILU, self.fn("rc_silu_mul"), call=calls, row=rows * calls, element=rows * n * times)
        self.found[SILU].ram_bytes += 8 * rows * n * times

    def norm(self, rows: int, n: int, times: int) -> None:
        self.units(NORM, self.fn("rc_rms_norm"), row=rows * times, element=rows * n * times)
        self.units(NORM, "rc_dot_f32", call=rows * times, mac=rows * n * times)
        self.found[NORM].ram_bytes += 8 * rows * n * times

    def residual(self, ref: LinearRef, rows: int, times: int) -> None:
        n = ref.n
        self.units(CARRY, self.glue(ref), residual=rows * n * times)
        self.found[CARRY].ram_bytes += 8 * rows * n * times

    def load(self, added: str, calls: int, n: int, times: int) -> None:
        """`calls` rows of z of n elements, with what is added to them."""
        carry, elements = self.program.carry, calls * n * times
        self.units(CARRY, f"load_{carry}", call=calls * times, **{added: elements})
        work = self.found[CARRY]
        work.ram_bytes += _CARRY_BYTES[carry] * elements * (1 if added == "plain" else 2)
        tables = 1 + ("positions" in self.program.tables)
        work.flash_bytes += 4 * elements * tables * (added == "input")

    def store(self, rows: int, n: int, times: int, by: str) -> None:
        carry = self.program.carry
        self.units(CARRY, f"store_{carry}", **{by: rows * n * times})
        self.found[CARRY].ram_bytes += 4 * rows * n * times
        if carry == "int8":
            self.quantize(rows, n, times, self.fn("rc_quantize_rows8"))

    def heads(self) -> None:
        c = self.program.config
        for rows, n in (*tiles(c.seq_len, self.layout.heads_tile), (1, 1)):
            self.load("plain", rows, c.hidden_size, n)
            ref = self.program.q_head if (rows, n) == (1, 1) else self.program.lm_head
            self.inputs(ref, rows, n)
            self.product(HEADS, ref, ref.n, rows, n)
        self.units(HEADS, self.glue(self.program.lm_head), logit=c.seq_len * c.vocab_size)
        self.found[HEADS].ram_bytes += 4 * c.seq_len * c.vocab_size


def tiles(rows: int, tile: int) -> tuple[tuple[int, int], ...]:
    """(rows a tile, how many such tiles): the full ones, then the rest."""
    full = ((tile, rows // tile),) if rows >= tile else ()
    return (*full, (rows % tile, 1)) if rows % tile else full


def _updates(loop: Loop, times: int = 1) -> Iterator[tuple[Update, int]]:
    """Every update of a schedule's body with how often a step makes it."""
    for item in loop.body:
        if isinstance(item, Loop):
            yield from _updates(item, times * item.count)
        else:
            yield item, times


def _op_calls(program: Program, layout: Layout) -> Iterator[tuple[str, Op, OpCall]]:
    """Name, op and call of every op of every update."""
    index = {block.name: i for i, block in enumerate(program.blocks)}
    for update, times in _updates(program.schedule):
        i = index[update.block]
        for position, (op, shape) in enumerate(zip(program.blocks[i].ops, layout.op_shape[i], strict=True)):
            added = "plain" if position else "input" if INPUT in update.sources else "source"
            yield op_name(op, update), op, OpCall(layout.shapes[shape], times, added)


@dataclass(frozen=True)
class OneOp:
    """An op of a step: `times` a step, each with this work, in turns over `tile` of its `rows`.

    piece: multiply-adds between two places where the hook may be called, at most.
    """

    name: str
    times: int
    rows: int
    tile: int
    piece: int
    work: dict[str, ClassWork]


def op_works(program: Program, layout: Layout, forms: Forms, kernels: KernelSet) -> list[OneOp]:
    """The ops of a step, those of one name together, and the heads: their work adds up to `step_work`."""
    found: dict[tuple[str, str], OneOp] = {}
    for name, op, call in _op_calls(program, layout):
        step, shape, part = Step(program, layout, forms, kernels), call.shape, op_work(op)
        part.count(step, shape.op, replace(call, times=1))
        known = found.get((name, call.added))
        times = call.times + (known.times if known else 0)
        piece = max(shape.tile * kernels.tile * max((ref.k for ref in op.linears), default=0), part.row_macs(op, shape))
        found[name, call.added] = OneOp(name, times, shape.rows, shape.tile, piece, step.found)
    step, head = Step(program, layout, forms, kernels), program.lm_head
    step.heads()
    tile = layout.heads_tile
    heads = OneOp(HEADS_NAME, 1, program.config.seq_len, tile, tile * kernels.tile * head.k, step.found)
    return [*found.values(), heads]


def step_work(program: Program, layout: Layout, forms: Forms, kernels: KernelSet) -> dict[str, ClassWork]:
    """Work of one supervision step by class, in the order of tables; MACs add up to `program.macs_per_step`."""
    step = Step(program, layout, forms, kernels)
    for _, _, call in _op_calls(program, layout):
        op_work(call.shape.op).count(step, call.shape.op, call)
    step.heads()
    return step.found
