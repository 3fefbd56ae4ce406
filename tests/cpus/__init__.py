"""The numeric tests as other processors would run them: variants of this computer, see `python -m tests.cpus --help`.

torch, NumPy, oneDNN, MKL, OpenBLAS and our own host kernels each choose code by what the processor can do, and that choice
decides the order of sums. Environment variables take it back, down to the oldest processor that they still know. What no
variable reaches is covered by `shuffled`: sums in an order that no processor takes (see site/sitecustomize.py).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMERIC = (
    "models",
    "quant",
    "study",
    "acceptance",
    "codegen",
    "exchange",
    "benchmarks",
    "examples",
    "kernels",
    "targets/test_host_variants.py",
    "build/test_commands.py",
    "build/test_verified.py",
    "test_outliers.py",
)


@dataclass(frozen=True)
class Variant:
    """A processor to stand for.

    env: what makes the libraries choose as on it. needs: flags of /proc/cpuinfo without which it cannot run here. numpy:
    levels of NumPy's dispatch that it does not have.
    """

    name: str
    env: Mapping[str, str]
    needs: frozenset[str] = frozenset()
    numpy: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Why it cannot run here, None when it can."""
        if platform.machine() != "x86_64":
            return None if not self.needs else f"this computer is {platform.machine()}"
        lacking = sorted(self.needs - cpu_flags())
        return f"this CPU has no {', '.join(lacking)}" if lacking else None

    def environment(self) -> dict[str, str]:
        """This process's environment with the variant's."""
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        if "RECURC_ORDER" in self.env:
            path.insert(0, str(Path(__file__).parent / "site"))
        dropped = [level for level in self.numpy if level in numpy_levels()]
        return {
            **os.environ,
            **({"NPY_DISABLE_CPU_FEATURES": " ".join(dropped)} if dropped else {}),
            **self.env,
            "PYTHONPATH": os.pathsep.join(path),
        }


def cpu_flags() -> frozenset[str]:
    """Flags of this computer's processor, empty where Linux does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.split(":", 1) for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, ["", ""])[1].split())


def numpy_levels() -> frozenset[str]:
    """Levels that NumPy chooses among here; it refuses the names of others."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return frozenset(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def _x86(torch: str, onednn: str, mkl: str, openblas: str, kernels: str) -> dict[str, str]:
    return {
        "ATEN_CPU_CAPABILITY": torch,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_CBWR": mkl,
        "OPENBLAS_CORETYPE": openblas,
        "RECURC_KERNELS": kernels,
    }


_WIDE = ("X86_V4", "AVX512_ICL", "AVX512_SPR")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512_vnni"})
VARIANTS = (
    Variant("old", _x86("default", "SSE41", "COMPATIBLE", "Prescott", "portable"), frozenset({"sse4_1"}), ("X86_V3", *_WIDE)),
    Variant("avx2", _x86("avx2", "AVX2", "AVX2", "Haswell", "avx2"), frozenset({"avx2"}), _WIDE),
    Variant("avx512", _x86("avx512", "AVX512_CORE_VNNI", "AVX512", "SkylakeX", "avx512vnni"), _AVX512),
    Variant(
        "amx", _x86("avx512", "AVX512_CORE_AMX", "AVX512", "SAPPHIRERAPIDS", "avx512vnni"), _AVX512 | {"amx_tile", "amx_bf16"}
    ),
    Variant("threads", {"OMP_NUM_THREADS": "2"}),
    Variant("shuffled", {"RECURC_ORDER": "1"}),
    Variant("shuffled-again", {"RECURC_ORDER": "2"}),
)
