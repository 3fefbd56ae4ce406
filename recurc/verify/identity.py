"""What a build says that the firmware of one of its boards answers to HELLO."""

from __future__ import annotations

from recurc.build.manifest import BoardArtifact, Build
from recurc.device import frames as f
from recurc.device.expected import Expected
from recurc.targets.boards import Board


def expected_hello(build: Build, board: Board, artifact: BoardArtifact) -> Expected:
    """HELLO's fields as a build has them; not those that only the chip knows (the clock of a real board).

    Args:
        artifact: the build's firmware for the board.
    """
    c, table, details = build.config, build.table, build.details
    entry = details["boards"].get(board.name)
    plan = entry.get("plan") if entry else None
    place = plan["table"] if plan else None
    mapped = place is not None and place["address"] is not None
    fields: dict[str, object] = {
        "build_id": artifact.build_id, "model_sha256": artifact.model_sha256,
        "seq_len": c.seq_len, "vocab": c.vocab_size, "rows": c.rows, "hidden": c.hidden_size,
        "puzzles": c.num_puzzle_identifiers if c.puzzle_emb_ndim else 0,
        **build.lowering.manifest(), "image_bytes": artifact.image.stat().st_size, "board": f.told_name(board.name),
        "table_mode": f.TABLE_NONE if table is None else f.TABLE_MAPPED if mapped else f.TABLE_WIRE,
        "table_storage": table.storage if table else "", "record_bytes": table.record_bytes if table else 0,
        "table_key": (table.key if table else bytes(16)).hex(),
    }  # fmt: skip
    if entry and "arena_bytes" in entry:
        fields |= {"arena_bytes": entry["arena_bytes"], "model": f.told_name(details["firmware_name"])}
    if plan:
        fields["stack_bytes"] = plan["stack"]["reserved"]
    if board.emulator is not None or board.family == "host":
        fields["tick_hz"] = board.ticks.hz
    return Expected(fields)
