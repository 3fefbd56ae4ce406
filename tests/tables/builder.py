"""Small puzzle tables, and checkpoints with tables of any size that take no room on the disk (sparse files)."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from recurc.models import checkpoint, tensorfile
from recurc.quant.tables import PuzzleTable
from tests.models.builders import arch, state_dict, write_checkpoint

MODEL = arch(mlp_t=True, pos_encodings="none", puzzle_emb_ndim=512, puzzle_emb_len=16)
KEY = hashlib.sha256(b"a model").digest()[:16]
NAME = "puzzle_emb.weights"


def table(storage: str, rows: int = 7, dim: int = 5, seed: int = 0, key: bytes = KEY, factor: float = 1.7) -> PuzzleTable:
    """A table of random rows, the second of which is zeros."""
    source = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    source[1 % rows] = 0.0
    return PuzzleTable(source, factor, storage, key)


def sparse_checkpoint(folder: Path, rows: int, dtype: str = "F32", dim: int = 512) -> Path:
    """A folder with config.json and model.safetensors whose table is a hole in the file but for a few rows.

    Row r is r + 1 in its first value for r = 0, rows // 2 and rows - 1.
    """
    write_checkpoint(folder / "raw", MODEL, state_dict(MODEL, identifiers=3))
    small = checkpoint.load(folder / "raw")
    out = folder / "model"
    checkpoint.save(small, out)
    tensors = {name: t for name, t in small.tensors.items() if name != NAME}
    item = {"F32": 4, "BF16": 2}[dtype]
    header: dict[str, object] = {}
    at = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + 4 * tensor.size]}
        at += 4 * tensor.size
    header[NAME] = {"dtype": dtype, "shape": [rows, dim], "data_offsets": [at, at + item * rows * dim]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 64)
    with open(out / "model.safetensors", "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head + b"".join(t.tobytes() for t in tensors.values()))
        start = 8 + len(head) + at
        file.truncate(start + item * rows * dim)
        for row in (0, rows // 2, rows - 1):
            file.seek(start + item * row * dim)
            value = np.float32(row + 1)
            file.write(value.tobytes() if item == 4 else tensorfile.narrow_bfloat16(value[None]).tobytes())
    config = json.loads((out / "config.json").read_text())
    config["num_puzzle_identifiers"] = rows
    del config["weights_sha256"]  # the weights are others now, on purpose
    (out / "config.json").write_text(json.dumps(config))
    return out


def torch_checkpoint(folder: Path, rows: int, dtype: torch.dtype, dim: int = 512) -> Path:
    """The same as torch.save writes it (this one takes its room, here and in memory)."""
    sd = state_dict(MODEL, identifiers=1)
    sd[NAME] = torch.zeros(rows, dim, dtype=dtype)
    for row in (0, rows // 2, rows - 1):
        sd[NAME][row, 0] = row + 1
    return write_checkpoint(folder, MODEL, sd)


PEAK = """
def peak():
    for line in open("/proc/self/status"):  # unlike ru_maxrss this does not begin with the parent's
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
"""


def peak_mib(code: str) -> tuple[int, int]:
    """MiB of memory that a fresh Python had used at most when it called `start()`, and at its end."""
    program = PEAK + "def start():\n    global before\n    before = peak()\n" + code + "\nprint(before, peak())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split()[-2:]
    return int(before), int(after)
