"""`recurc inspect`: what a model is and what it costs, before anything is built."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.options import checkpoint_argument, data_option, pass_console, resolve_model
from recurc.cli.common.output import Console, bytes_text, count_text
from recurc.cli.common.told import Told, told_options
from recurc.report.numbers import IMAGE_BYTES, LINEAR_BYTES

if TYPE_CHECKING:
    from recurc.evaluate.own_halting import OwnHalting
    from recurc.ir.accounting import Cost
    from recurc.models.reasoner import Reasoner


@click.command()
@checkpoint_argument()
@data_option
@told_options
@takes(told=Told)
@pass_console
def command(console: Console, checkpoint: str | None, data: str | None, told: Told) -> None:
    """Show a model's family, shapes, parameters, MACs and bytes per precision.

    CHECKPOINT is a file or folder of the original code, a folder with config.json and model.safetensors, or the name
    of a bundled example.
    """
    from recurc.evaluate.own_halting import kept
    from recurc.ir.accounting import cost, linear_weights
    from recurc.quant.weights import weight_bytes

    reasoner = resolve_model(console, checkpoint, data).load(told.fields)
    own = kept(reasoner)
    config, work, weights = reasoner.config, cost(reasoner.config), linear_weights(reasoner)
    sizes, state = weight_bytes(weights.blocks, weights.heads), config.rows * config.hidden_size
    console.emit_json(
        {
            "source": reasoner.source,
            "sha256": reasoner.sha256,
            "family": config.family,
            "mixer": config.mixer,
            "parameters": reasoner.parameters,
            "seq_len": config.seq_len,
            "hidden": config.hidden_size,
            "vocab": config.vocab_size,
            "puzzle_rows": config.puzzle_rows,
            "rows": config.rows,
            "layers": config.L_layers,
            "h_layers": config.H_layers,
            "heads": config.num_heads if config.mixer == "attention" else None,
            "pos_encodings": config.pos_encodings,
            "expansion": config.expansion,
            "inter": config.inter,
            "inter_t": config.inter_t if config.mixer == "mlp_t" else None,
            "puzzle_identifiers": config.num_puzzle_identifiers if config.puzzle_emb_ndim else 0,
            "puzzle_emb_ndim": config.puzzle_emb_ndim,
            "h_cycles": config.H_cycles,
            "l_cycles": config.L_cycles,
            "steps": config.halt_max_steps,
            "halt_rule": config.halt_rule,
            "halting": None if own is None else asdict(own),
            "calls_per_step": work.calls_per_step,
            "macs_per_call": work.macs_per_call,
            "macs_by_block": work.macs_by_block,
            "macs_per_step": work.macs_per_step,
            "macs_per_puzzle": work.macs_per_puzzle,
            "linear_weights": weights.weights,
            "output_channels": weights.channels,
            "weight_bytes": sizes,
            "state_bytes": {"fp32": 4 * state, "int8": state},
            "puzzle_table_bytes": 4 * config.num_puzzle_identifiers * config.puzzle_emb_ndim,
            "tensors": {name: list(tensor.shape) for name, tensor in reasoner.tensors.items()},
        }
    )
    if not console.json:
        _show(console, reasoner, work, sizes, own)


def _show(console: Console, reasoner: Reasoner, work: Cost, sizes: dict[str, int], own: OwnHalting | None) -> None:
    from recurc.models import recursion_of

    c = reasoner.config
    ops = [op for block in recursion_of(c).blocks for op in block.ops]
    mixers, others = ("; ".join(dict.fromkeys(op.told for op in ops if op.mixes == mixes)) for mixes in (True, False))
    table = "none"
    if c.puzzle_emb_ndim:
        size = 4 * c.num_puzzle_identifiers * c.puzzle_emb_ndim
        table = f"{c.num_puzzle_identifiers:,} x {c.puzzle_emb_ndim}, {bytes_text(size)} fp32"
    state = 4 * c.rows * c.hidden_size
    layers = " and ".join(f"{count} in {name}" for name, count in c.levels) if c.H_layers else str(c.L_layers)
    calls = count_text(work.macs_per_call)
    if len(set(work.macs_by_block.values())) > 1:
        calls = ", ".join(f"{name} {count_text(macs)}" for name, macs in work.macs_by_block.items())
    console.pairs(
        [
            ("model", f"{c.family.upper()}  {reasoner.source}"),
            ("mixer", f"{mixers or 'none'}, positions: {c.pos_encodings}"),
            ("shape", f"{c.seq_len} cells + {c.puzzle_rows} puzzle rows, hidden {c.hidden_size}, vocabulary {c.vocab_size}"),
            ("blocks" if c.H_layers else "block", f"layers: {layers}; {others} (expansion {c.expansion:g})"),
            (
                "recursion",
                f"H {c.H_cycles} x L {c.L_cycles}, {work.calls_per_step} block calls a step, {c.halt_max_steps} steps",
            ),
            *([("halting", f"{own.rule_text} ({own})")] if own is not None else []),
            ("parameters", _parameters(reasoner)),
            ("puzzle table", table),
            ("MACs a call", calls),
            ("MACs a step", count_text(work.macs_per_step)),
            ("MACs a puzzle", f"{count_text(work.macs_per_puzzle)} (all {c.halt_max_steps} steps)"),
            ("one state", f"{bytes_text(state)} fp32 (two are kept: z_H and z_L)"),
        ]
    )
    console.table(("linear weights", "bytes", ""), [(name, f"{size:,}", bytes_text(size)) for name, size in sizes.items()])
    console.print(f"bytes: {LINEAR_BYTES}, without padding. `recurc report` and `recurc build` show {IMAGE_BYTES}.")


def _parameters(reasoner: Reasoner) -> str:
    """As the original counts them, and with the puzzle embeddings, which it counts as buffers."""
    c = reasoner.config
    puzzles = c.num_puzzle_identifiers * c.puzzle_emb_ndim
    more = f" without puzzle embeddings, {reasoner.parameters + puzzles:,} with them" if puzzles else ""
    return f"{reasoner.parameters:,}{more}"
