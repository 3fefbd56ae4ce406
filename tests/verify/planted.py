"""Firmware with a bug planted in it, which strikes in one op of one step; PLANT="KIND STEP OP" in the environment chooses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recurc.emit.linker import render_main
from recurc.plan.kernels import kernel_set
from recurc.quant.model import QuantizedModel
from recurc.targets.boards import load_board
from recurc.targets.toolchain import compile_objects, link_firmware, port_include_dirs, runtime_sources
from tests.codegen.builder import COMMON, RUNTIME, write_sources

BUILD_ID = "5e" * 16
ROUNDING, NIBBLE, SHORT_K, LOST_OP, STALE_BEGIN, LOGITS = range(1, 7)

HEADER = """
#ifndef PLANTED_H
#define PLANTED_H
#include <stdint.h>
extern uint32_t planted; /* bug that strikes in the op under way; 0: none */
void plant(uint32_t step, uint32_t op, void *carry, uint32_t bytes);
uint32_t planted_kind(void);
#endif
"""
SOURCE = """
#include "planted.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
uint32_t planted;
static unsigned kind, at_step, at_op;
static unsigned char saved[1 << 16];
uint32_t planted_kind(void)
{
    const char *text = getenv("PLANT");
    if (text != 0 && sscanf(text, "%u %u %u", &kind, &at_step, &at_op) != 3) {
        abort();
    }
    return kind;
}
void plant(uint32_t step, uint32_t op, void *carry, uint32_t bytes)
{
    if (planted == 4u) { /* what the op before has done is lost */
        memcpy(carry, saved, bytes);
    }
    planted = planted_kind() != 0u && step == at_step && op == at_op ? kind : 0u;
    if (planted == 4u) {
        memcpy(saved, carry, bytes);
    }
}
"""
# File -> what is replaced in it, and by what; each text stands there once.
BUGS = {
    "model.c": (
        ("    const uint32_t i = ctx->op_next++;\n",
         "    const uint32_t i = ctx->op_next++;\n"
         "    plant(ctx->step + 1u, i + 1u, ctx->arena, (uint32_t)sizeof(carry_t));\n"),
        ("    fill_carry(F32_AT(OFF_L_INIT)", "    if (planted_kind() != 5u) fill_carry(F32_AT(OFF_L_INIT)"),
        ("    c->q[0] += F32_AT(OFF_Q_BIAS)[0];\n", "    m->logits[5] += planted == 6u ? 1.0f : 0.0f;\n"
         "    c->q[0] += F32_AT(OFF_Q_BIAS)[0];\n"),
    ),
    "rc_quantize_rows8.c": (
        ("rc_round(x[i] * inverse)", "(planted == 1u ? (int32_t)(x[i] * inverse) : rc_round(x[i] * inverse))"),
    ),
    "rc_linear_f32.c": (("w + j * k, k);", "w + j * k, k - (planted == 3u && j == 1u ? 1u : 0u));"),),
    "rc_tile_s4.c": (
        ("const uint32_t a = first & FIELDS, b",
         "const uint32_t a = (first & FIELDS) - (planted == 2u && (first & 8u) != 0u ? 16u : 0u), b"),
        ("(uint32_t)(int32_t)*row[r]++;",
         "(planted == 3u && k == 0u && i == 0u ? 0u : (uint32_t)(int32_t)*row[r]); row[r]++;"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Common:
    """Objects that every model's firmware shares, and the folder of planted.h."""

    folder: Path
    objects: tuple[Path, ...]


def _patched(source: Path, folder: Path) -> Path:
    """A copy of a source with its bugs in it."""
    text = source.read_text()
    for old, new in BUGS[source.name]:
        assert text.count(old) == 1, (source.name, old)
        text = text.replace(old, new)
    copy = folder / source.name
    copy.write_text('#include "planted.h"\n' + text)
    return copy


def compile_common(folder: Path) -> Common:
    """Kernels with bugs, runtime and port, for this computer."""
    board, folder = load_board("host"), folder.absolute()
    (folder / "planted.h").write_text(HEADER)
    (folder / "planted.c").write_text(SOURCE)
    kernels = [RUNTIME / "kernels" / name for name in kernel_set("portable").sources]
    sources = [_patched(s, folder) if s.name in BUGS else s for s in kernels]
    sources += [folder / "planted.c", *(RUNTIME / s for s in COMMON), *runtime_sources(board, RUNTIME)]
    includes = [folder, *port_include_dirs(board, RUNTIME)]
    objects = compile_objects(board, list(dict.fromkeys(sources)), includes, {}, folder, ("-O1",))
    return Common(folder, tuple(objects))


def compile_planted(folder: Path, model: QuantizedModel, common: Common) -> Path:
    """The firmware of one model as a process, with every bug in it. Returns the program."""
    board = load_board("host")
    write_sources(folder, model, kernel_set("portable"), 20_000)
    (folder / "main.c").write_text(render_main(BUILD_ID))
    model_c = _patched(folder / "model.c", folder)
    includes = [folder, common.folder, *port_include_dirs(board, RUNTIME)]
    own = compile_objects(board, [folder / "main.c", model_c, folder / "weights.S"], includes, {}, folder, ("-O1",))
    return link_firmware(board, [*own, *common.objects], None, folder)
