"""What a build's manifest may hold, entry by entry. Whoever adds an entry to it, adds it here."""

from __future__ import annotations

from recurc.alphabet import MOST_SYMBOLS
from recurc.build.inside import check_relative
from recurc.build.schema import boolean, float32, integer, list_of, number, optional, record, table_of, text, word
from recurc.ir.lowering import CARRIES, DEPTH, MOST, MOST_CYCLES, MOST_FORMS, MOST_STEPS, STORAGES
from recurc.noise import MOST_SEED, NOISE_AT
from recurc.recursion import POSITIONS
from recurc.solve import ACCEPT
from recurc.symmetries import LONGEST_SYMMETRY
from recurc.targets.allowed import NAME
from recurc.targets.regions import REGION_KINDS

LARGEST_MANIFEST = 64 << 20  # bytes
MOST_FILES = 100_000
_BYTES, _ADDRESS = integer(0, 1 << 40), integer(0, 1 << 32)
_SIGNED = integer(-(1 << 62), 1 << 62)
_DEPTHS = {name: integer(1, MOST[name]) for name in DEPTH}
_CYCLES, _STEPS = integer(1, MOST_CYCLES), integer(1, MOST_STEPS)
_SHA256, _ID = text(64, "[0-9a-f]{64}"), text(32, "[0-9a-f]{32}")
_BOARD = text(64, NAME.pattern)
_WORD = text(200)
_PATH = text(4096, raw=True)  # where something lay on the computer that built it
_SHARE = number(0, 1)
_PARTS = table_of(_SIGNED, 100)


def _file(value: object, at: str) -> None:
    text(1000)(value, at)
    check_relative(str(value))


def _folder(value: object, at: str) -> None:
    """A folder of the build; "" for none of its own."""
    if value != "":
        _file(value, at)


_PIECE = record({"name": _WORD, "kind": _WORD, "address": _ADDRESS, "offset": _SIGNED, "bytes": _BYTES, "lifetime": text()})
_REGION = {
    "name": _WORD,
    "kind": word(*REGION_KINDS),
    "base": _ADDRESS,
    "size": _BYTES,
    "used": _BYTES,
    "free": _SIGNED,
    "sum": text(4000),
    "optional": boolean,
    "note": text(),
    "parts": _PARTS,
}
_CALL = record({"function": text(), "bytes": _BYTES})
_CHANGE = record(
    {
        "change": text(),
        "options": list_of(text(), 20),
        "fits": boolean,
        "saves": _SIGNED,
        "missing_bytes": _SIGNED,
        "region": optional(_WORD),
        "note": text(),
    }
)
_VERDICT = record(
    {
        "fits": boolean,
        "text": text(),
        "estimated": boolean,
        "open": boolean,
        "missing_bytes": _BYTES,
        "region": optional(_WORD),
        "missing": list_of(record({"region": _WORD, "bytes": _BYTES, "parts": list_of(_WORD, 100)}), 100),
        "changes": list_of(_CHANGE, 100),
    }
)


def _bits(value: object, at: str) -> None:
    """Bits a weight, of all layers or by layer."""
    (table_of(number(1, 64)) if isinstance(value, dict) else number(1, 64))(value, at)


_MODEL = record(
    {
        "parameters": integer(),
        "bits": _bits,
        "carry": word(*CARRIES),
        "kernels": _WORD,
        **_DEPTHS,
        "calls_per_step": integer(),
        "macs_per_call": integer(),
        "macs_by_block": table_of(integer(), 100),
        "macs_per_step": integer(),
        "macs_per_puzzle": integer(),
    }
)
_STACK = record(
    {
        "reserved": _BYTES,
        "worst": optional(_BYTES),
        "path": list_of(_CALL),
        "interrupt_bytes": optional(_BYTES),
        "assumed": list_of(_CALL),
    }
)


_OP = record(
    {
        "name": text(400),  # kind, weights and state, of an op which need not be installed here
        "times": integer(),
        "rows": integer(1),
        "tile": integer(1),
        "piece": integer(),
        "macs": integer(),
        "flash_bytes": integer(),
        "flash_again": integer(),
        "units": table_of(number(0), 1000),
        "between": table_of(number(0), 1000),
    }
)
_WORK = record(
    {
        "kernels": _WORD,
        "classes": list_of(
            record(
                {
                    "name": _WORD,  # of an op, which need not be installed here
                    "macs": integer(),
                    "flash_bytes": integer(),
                    "flash_again": integer(),
                    "ram_bytes": integer(),
                    "units": table_of(number(0), 1000),
                }
            ),
            100,
        ),
    },
    {"ops": list_of(_OP, 1000)},
)
_PLACED = record(
    {"bytes": _BYTES, "region": optional(_WORD), "address": optional(_ADDRESS), "mode": word("memory-mapped", "wire")}
)
_PLAN = record(
    {
        "board": _BOARD,
        "estimated": boolean,
        "regions": list_of(record({**_REGION, "pieces": list_of(_PIECE)}), 100),
        "verdict": _VERDICT,
        "model": _MODEL,
        "stack": _STACK,
        "table": optional(_PLACED),
        "image": record({"bytes": _BYTES, "parts": _PARTS}),
        "arena_bytes": _BYTES,
        "scratch_bytes": _BYTES,
        "ram_bytes": _BYTES,
        "work": _WORK,
    }
)
_SECTION = record({"name": _WORD, "address": _ADDRESS, "bytes": _BYTES, "align": _BYTES, "load_address": _ADDRESS})
_LINK = record({"agrees": boolean, "differences": list_of(text(), 1000), "sections": list_of(_SECTION, 1000)})
_FIRMWARE = record(
    {"elf": optional(_file), "image": _file, "model_sha256": _SHA256, "build_id": _ID, "kernels": _WORD},
    {"regions": list_of(record(_REGION), 100), "plan": _PLAN, "link": _LINK, "arena_bytes": _BYTES, "hook_macs": integer(1)},
)
_TABLE = record(
    {
        "path": _file,
        "storage": word(*STORAGES),
        "rows": integer(1, 1 << 32),
        "dim": integer(1, 1 << 16),
        "record_bytes": integer(1, 1 << 17),
        "bytes": _BYTES,
        "key": text(32, "[0-9a-f]{32}"),
    }
)
_COUNT = integer(0, 1 << 31)
_CONFIG = record(
    {
        "family": _WORD,
        "mixer": word("mlp_t", "attention"),
        "seq_len": integer(1, 1 << 16),
        "vocab_size": integer(1, 1 << 16),
        "num_puzzle_identifiers": _COUNT,
        "hidden_size": integer(1, 1 << 16),
        "expansion": number(0, 1 << 16),
        "num_heads": integer(1, 1 << 16),
        "L_layers": integer(1, 1024),
        "H_cycles": _CYCLES,
        "L_cycles": _CYCLES,
        "halt_max_steps": _STEPS,
        "pos_encodings": word(*POSITIONS),
        "puzzle_emb_ndim": _COUNT,
        "puzzle_emb_len": integer(0, 1 << 16),
        "rms_norm_eps": number(0, 1),
        "rope_theta": number(0, 1e12),
        "H_layers": integer(0, 1024),
        "forward_dtype": _WORD,
        "halt_rule": _WORD,
    }
)

_HALT = {"threshold": float32, "min_steps": integer(1, 255)}
_PATIENCE = {"patience": integer(0, 255)}  # without it, 0: manifests were written before there was one
_FLOAT_LEAST, _FLOAT_MOST = 2.0**-149, 3.4028234663852886e38  # positive numbers of 32 bits
_SOLVE = record(
    {
        "symmetry": text(LONGEST_SYMMETRY),
        "forms": integer(0, MOST_FORMS),
        "steps": integer(1, 255),
        "restarts": integer(0, 255),
        "restart_steps": integer(1, 255),
        "threshold": number(-_FLOAT_MOST, _FLOAT_MOST),
        "accept": word(*ACCEPT),
        **_PATIENCE,
    },
    {"noise": number(_FLOAT_LEAST, _FLOAT_MOST), "noise_at": word(*NOISE_AT), "seed": integer(0, MOST_SEED)},
)
_STOPPED = record(
    {**_HALT, "cell": _SHARE, "exact": _SHARE, "mean_steps": number(1, 255), "lost": number(-1, 1), "lost_error": number(0, 2)},
    {**_PATIENCE, "whence": text()},
)

_ANSWERS = record(
    {
        "cell": optional(_SHARE),
        "exact": optional(_SHARE),
        "mean_steps": number(1, 1 << 16),
        "solved": integer(0, 1 << 32),
        "wrong_solved": integer(0, 1 << 32),
    }
)

MANIFEST = record(
    {
        "schema": _WORD,
        "recurc": _WORD,
        "name": text(255),
        "target": _BOARD,
        "twin": optional(_BOARD),
        "precision": _WORD,
        "method": optional(_WORD),
        "label": _WORD,
        **_DEPTHS,
        "boards": table_of(_FIRMWARE, 16, _BOARD),
        "image_bytes": _BYTES,
        "arena_bytes": _BYTES,
        "host_cpu": _WORD,
        "host_library": _file,
        "host_image": _file,
        "config": _CONFIG,
        "files": table_of(_SHA256, MOST_FILES, _file),
        "digest": _SHA256,
    },
    {
        "packages": table_of(_folder, 16, text(64, NAME.pattern)),
        "layers": table_of(_WORD, 10_000),
        "carry": word(*CARRIES),
        "table": optional(_TABLE),
        "checkpoint": record({"source": optional(_PATH), "sha256": optional(_SHA256)}, {"notes": list_of(text(), 1000)}),
        "fidelity": optional(number(-1.001, 1.001)),
        "fidelity_error": optional(number(0, 2)),
        "fidelity_puzzles": optional(_COUNT),
        "fidelity_inputs": optional(text()),
        "fidelity_rows": list_of(_COUNT, 1000),
        "min_fidelity": optional(number()),
        "min_fidelity_from": optional(text()),
        "calibration": optional(record({"puzzles": _COUNT, "steps": _COUNT, "seed": integer(0, 1 << 32)})),
        "accuracy": optional(
            record(
                {"n": _COUNT, "cell": _SHARE, "exact": _SHARE},
                {"exact_error": _SHARE, "fp32_cell": _SHARE, "fp32_exact": _SHARE, "halting": _STOPPED, "answers": _ANSWERS},
            )
        ),
        "data": optional(_PATH),
        "data_in_memory": boolean,
        "symbols": text(MOST_SYMBOLS),
        "firmware_name": text(1000),
        "halt": optional(record(_HALT, _PATIENCE)),
        "solve": optional(_SOLVE),
    },
)
