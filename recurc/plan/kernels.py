"""Which kernels a target gets, and how weights are packed for them.

A kernel set is one entry of `KERNEL_SETS`: the packing of the weights, for each stored form the C functions and the layout
of quantized activations, and the C files. The first set whose required features a target has is used; all sets give the
same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from recurc.errors import UsageError
from recurc.ir.program import LinearRef
from recurc.reading import matching
from recurc.resources import resource_dir
from recurc.storage import GROUPED, INT4, INT8
from recurc.storage.form import Form
from recurc.storage.packings import APART, LANES, PAIRS, PANELS, SIXTEENS, Packing
from recurc.storage.packings.packing import up

ROW_ELEMENTS = 8  # rows of int8 keys, values and probabilities of attention are padded to a multiple of this


def padded(k: int) -> int:
    """k rounded up to whole words of attention's int8 rows."""
    return -(-k // ROW_ELEMENTS) * ROW_ELEMENTS


@dataclass(frozen=True)
class IntKernel:
    """How layers of one stored form are computed.

    tile: C function, `void f(const rc_rows{16,8}_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero,
    const float *scale, float *y, uint32_t ldy, void *w)`, of one packed tile of n <= packing.tile channels; `zero` is null
    where the packing stores none, and the groups' scales where weights have those. quantize: C function that makes rows for
    it, in any order inside rows * ld elements, from fp32 rows that may lie in the same memory from the same address on. act:
    element type of those rows. rows: as many as it multiplies at a time; tiles of rows are multiples of it where they can.
    scratch: bytes of `w` an element of depth; scratch_depth: most elements that it unpacks at a time (None: whole rows), whole
    multiples of scratch_step.
    unpack: C function that turns a packed tile into the one that `tile` reads, in `w`; "" where tiles are read as stored.
    lanes: channels that it computes at a time, where those are fewer than a tile's; 0: all that are stored together.
    """

    tile: str
    quantize: str
    act: str
    rows: int = 1
    scratch: int = 0
    scratch_depth: int | None = None
    scratch_step: int = 1
    unpack: str = ""
    lanes: int = 0

    @property
    def rows_type(self) -> str:
        return "rc_rows16_t" if self.act == "int16_t" else "rc_rows8_t"

    def scratch_bytes(self, depth: int) -> int:
        """Bytes of `w` for rows of `depth` elements (already padded)."""
        return self.scratch * self.unpacked(min(depth, self.scratch_depth or depth))

    def unpacked(self, depth: int) -> int:
        """Elements of each channel that are unpacked of `depth`."""
        return up(depth, self.scratch_step)

    def widening(self, narrow: Form, wide: Form, packing: Packing) -> IntKernel:
        """These kernels, of a form, for another one whose tiles are widened to it first; as they are where a packing spends as
        much on both and tiles need no widening."""
        codec = wide.codec(packing)
        k = packing.padded(codec.depth)
        if narrow.codec(packing).tile_bytes(k) == codec.tile_bytes(k):
            return self
        return replace(self, unpack=narrow.widen, scratch=codec.tile_bytes(k) // k, scratch_step=codec.depth)


@dataclass(frozen=True)
class KernelSet:
    """Kernels of one kind of target.

    ints: kernels by stored form; all take the same rows, so layers of several forms can share them. Forms whose tiles are
    widened to those of one of these need none of their own (see `of`). f32: C function of fp32 layers. requires: features of
    the target.
    files: below runtime_c/kernels, a name or a pattern each. variants: C functions that replace general ones of the same
    arguments.
    header: what generated code includes for them beyond recurc/rc_kernels.h.
    """

    name: str
    weights: Packing
    ints: Mapping[Form, IntKernel]
    f32: str
    requires: frozenset[str]
    files: tuple[str, ...]
    variants: tuple[tuple[str, str], ...] = ()
    header: str = ""

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Files below runtime_c/kernels."""
        folder = resource_dir("runtime_c") / "kernels"
        paths = [folder / file for file in self.files]
        found = [path for p in paths for path in (matching(p.parent, p.name) if "*" in p.name else [p])]
        return tuple(path.relative_to(folder).as_posix() for path in found)

    @property
    def packing(self) -> int:
        """Packing id in the image header."""
        return self.weights.id

    @property
    def tile(self) -> int:
        """Output channels a tile."""
        return self.weights.tile

    def of(self, form: Form) -> IntKernel | None:
        """Kernels of a stored form; None for fp32.

        Raises:
            UsageError: this set has none for it.
        """
        if not form.integer:
            return None
        asked = form.kernel_form
        if asked in self.ints:
            return self.ints[asked]
        wide = asked.wide_form
        if wide is None or wide not in self.ints:
            raise UsageError(
                f"the kernels for {self.name} do not compute this precision", where=f"stored form {form}",
                why="they know " + ", ".join(str(f) for f in self.ints), next="Choose another precision or board",
            )  # fmt: skip
        return self.ints[wide].widening(asked, wide, self.weights)

    @property
    def rows_kernel(self) -> IntKernel:
        """Any of the integer kernels, for what they have in common: how rows are quantized."""
        return next(iter(self.ints.values()))

    def fn(self, name: str) -> str:
        """The C function that stands for the general one of this name."""
        return dict(self.variants).get(name, name)

    def has(self, name: str) -> bool:
        """Whether this set has a function for what generated code else does by itself."""
        return name in dict(self.variants)

    def padded(self, k: int) -> int:
        """Elements of a row of quantized activations of k."""
        return self.weights.padded(k)

    def part_bytes(self, ref: LinearRef, form: Form) -> int:
        """Packed bytes of one part of a layer (gate and up are parts of one tensor, as are q, k and v)."""
        return form.codec(self.weights).part_bytes(ref.part_n, ref.k)


_COMMON = (
    "portable/rc_dot_f32.c",
    "portable/rc_dot_s8.c",
    "portable/rc_rms_norm.c",
    "portable/rc_silu_mul.c",
    "portable/rc_softmax.c",
    "portable/rc_rope.c",
    "portable/rc_quantize_rows8.c",
)
# Computers: one set for all, whose variants a library chooses among when it is loaded (recurc/rc_host.h).
_HOST_FILES = (
    "rc_host",
    "rc_gemm_panel8_avx512",
    "rc_gemm_panel8_avxvnni",
    "rc_gemm_panel8_avx2",
    "rc_gemm_panel4_avx2",
    "rc_gemm_panel_g32_avx2",
    "rc_gemm_panel8_dot",
    "rc_linear_f32_panel_avx512",
    "rc_linear_f32_panel_avx2",
    "rc_quantize_rows8_avx512",
    "rc_quantize_rows8_avx2",
    "rc_silu_mul_avx512",
    "rc_silu_mul_avx2",
    "rc_softmax_avx2",
    "rc_dot_s8_avx512",
    "rc_dot_s8_avx2",
    "rc_dot_s8_dot",
    "rc_swiglu_panel8_avx512",
    "rc_rms_rows",
    "rc_rms_rows_avx2",
    "rc_transpose",
    "rc_transpose_avx2",
)
_HOST_SOURCES = (
    *_COMMON,
    "portable/rc_gemm_panel8.c",
    "portable/rc_gemm_panel_g32.c",
    "portable/rc_linear_f32_panel.c",
    *(f"host/{f}.c" for f in _HOST_FILES),
)
_HOST_VARIANTS = tuple(
    (f"rc_{name}", f"rc_host->{name}")
    for name in ("quantize_rows8", "silu_mul", "swiglu", "rms_rows", "transpose", "softmax", "rope", "dot_s8", "dot_f32")
)
# Tile functions, then the general functions that have such a form.
_RVV = ("rc_tile_s4", "rc_tile_s8", "rc_tile_g32", "rc_quantize_rows8", "rc_silu_mul", "rc_softmax", "rc_dot_s8")
_MVE = ("rc_tile_s4", "rc_tile_s8", "rc_tile_g32", "rc_quantize_rows8", "rc_silu_mul", "rc_dot_s8", "rc_rms_norm", "rc_softmax")
_DSP = ("rc_tile_s4", "rc_tile_s8", "rc_tile_g32", "rc_dot_s8")


_UNPACK = "portable/rc_unpack_*.c"  # widen tiles of fewer than four bits; no files of computers, whose panels hold bytes
_RVV_LANES = 16  # bytes of a vector register of 128 bits, the shortest of extension V; longer ones do more at a time


def _ints(
    tile: str, quantize: str, act: str, rows: int, grouped: str = "rc_tile_g32", grouped_rows: int = 4, lanes: int = 0
) -> dict[Form, IntKernel]:
    """Kernels of each form of a set whose functions are called `tile` with 4 or 8 in it.

    Three and two bits a weight are the operands of four with what those do not need left out, so a tile is widened to the
    packing's form for four bits and goes on from there (`Form.wide_form`).
    `grouped` multiplies by weights in groups, `grouped_rows` rows at a time.
    """
    four = IntKernel(tile.format(4), quantize, act, rows, lanes=lanes)
    return {INT8: replace(four, tile=tile.format(8)), INT4: four, GROUPED: replace(four, tile=grouped, rows=grouped_rows)}


KERNEL_SETS = (
    KernelSet(
        "host",
        PANELS,
        _ints("rc_host->gemm{}", "rc_host->quantize_rows8", "int8_t", 2, "rc_host->gemm_g32", 2),
        "rc_host->linear_f32",
        frozenset({"host"}),
        _HOST_SOURCES,
        _HOST_VARIANTS,
        "recurc/rc_host.h",
    ),
    KernelSet(
        "mve",
        SIXTEENS,
        _ints("rc_tile_s{}_mve", "rc_quantize_rows8_mve", "int8_t", 2, "rc_tile_g32_mve", 2),
        "rc_linear_f32",
        frozenset({"mve"}),
        (*_COMMON, _UNPACK, "portable/rc_linear_f32.c", "mve/rc_scale_row_mve.c", *(f"mve/{name}_mve.c" for name in _MVE)),
        tuple((name, f"{name}_mve") for name in _MVE[3:]),
    ),
    KernelSet(
        "dsp",
        PAIRS,
        _ints("rc_tile_s{}_dsp", "rc_quantize_pairs16", "int16_t", 2, "rc_tile_g32_dsp", 2),
        "rc_linear_f32",
        frozenset({"dsp"}),
        (
            *_COMMON,
            _UNPACK,
            "portable/rc_quantize_pairs16.c",
            "portable/rc_linear_f32.c",
            *(f"dsp/{name}_dsp.c" for name in _DSP),
        ),
        (("rc_dot_s8", "rc_dot_s8_dsp"),),
    ),
    KernelSet(
        "rvv",
        LANES,
        _ints("rc_tile_s{}_rvv", "rc_quantize_rows8_rvv", "int8_t", 4, "rc_tile_g32_rvv", lanes=_RVV_LANES),
        "rc_linear_f32",
        frozenset({"v"}),
        (
            "portable/rc_dot_f32.c",
            "portable/rc_rms_norm.c",
            "portable/rc_rope.c",
            _UNPACK,
            "portable/rc_linear_f32.c",
            *(f"rvv/{name}_rvv.c" for name in _RVV),
        ),
        tuple((name, f"{name}_rvv") for name in _RVV[3:]),
    ),
    KernelSet(
        "portable",
        APART,
        _ints("rc_tile_s{}", "rc_quantize_rows8", "int8_t", 4),
        "rc_linear_f32",
        frozenset(),
        (
            *_COMMON,
            _UNPACK,
            "portable/rc_tile_s4.c",
            "portable/rc_tile_s8.c",
            "portable/rc_tile_g32.c",
            "portable/rc_linear_f32.c",
        ),
    ),
)


def choose_kernels(features: Iterable[str]) -> KernelSet:
    """The best kernel set for a target with these features."""
    have = frozenset(features)
    return next(k for k in KERNEL_SETS if k.requires <= have)


def kernel_set(name: str) -> KernelSet:
    """Kernel set by name."""
    return next(k for k in KERNEL_SETS if k.name == name)
