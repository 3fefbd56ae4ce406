"""`recurc inspect` and `recurc convert` from the outside."""

import json
from pathlib import Path

from recurc.cli.main import main
from recurc.models.checkpoint import load
from recurc.quant.weights import Precision, precisions, register, unregister
from recurc.storage.channel import PerChannel
from tests.models.builders import arch, write_dataset, write_model

HRM = Path(__file__).parents[1] / "data" / "hrm_original" / "checkpoint"
CHECKPOINT = Path(__file__).parents[1] / "data" / "trm_mlp_sudoku4" / "checkpoint"


def inspect(capsys, *args: str) -> dict:
    assert main(["inspect", *args, "--json"]) == 0
    out = capsys.readouterr()
    assert all(line.startswith("note: ") for line in out.err.splitlines())
    return json.loads(out.out)


def linear_shapes() -> list[tuple[int, int]]:
    reasoner = load(CHECKPOINT)
    return [reasoner.tensors[name].shape for name in reasoner.linear_names()]


def test_inspect_json(capsys):
    document = inspect(capsys, str(CHECKPOINT))
    assert document["schema"] == "recurc/inspect/1"
    expected = {"family": "trm", "mixer": "mlp_t", "parameters": 129_922, "seq_len": 16, "hidden": 64, "steps": 16}
    assert {k: document[k] for k in expected} == expected
    # 2 layers of token mixing (20 rows, width 256, 64 channels) and channel mixing (64 features, width 256, 20 rows)
    assert document["macs_per_call"] == 2 * (3 * 20 * 256 * 64 + 3 * 64 * 256 * 20)
    assert document["macs_per_step"] == 8 * document["macs_per_call"] + (16 * 6 + 2) * 64
    assert document["macs_per_puzzle"] == 16 * document["macs_per_step"]
    weights, channels = document["linear_weights"], document["output_channels"]
    groups = sum(n * -(-k // 32) for n, k in linear_shapes())
    thirds = sum(n * -(-3 * k // 8) for n, k in linear_shapes())
    *blocks, lm_head, q_head = linear_shapes()
    halves = sum(n * -(-k // 4) for n, k in blocks) + sum(n * -(-k // 2) for n, k in (lm_head, q_head))  # heads are int4
    len_heads = lm_head[0] + q_head[0]
    expected = {
        "fp32": 4 * weights,
        "int8": weights + 4 * channels,
        "int4-g32": weights // 2 + groups + 4 * channels,
        "int4": weights // 2 + 5 * channels,
        "int3": thirds + 5 * channels,
        "int2-g32": halves + sum(n * -(-k // 32) for n, k in blocks) + 4 * channels + len_heads,
        "int2": halves + 5 * channels,
    }
    assert {name: document["weight_bytes"][name] for name in expected} == expected
    assert document["notes"] == []


def test_inspect_text(capsys):
    assert main(["inspect", str(CHECKPOINT)]) == 0
    out = capsys.readouterr().out
    for text in ("TRM", "MLP over the sequence", "129,922", "31.46 M"):
        assert text in out
    names = [line.split()[0] for line in out.splitlines() if line.split()]
    assert [p.name for p in precisions().values() if not p.lossy] == [n for n in names if n in precisions()]


def test_a_new_precision_is_shown(capsys):
    one = Precision("one-bit", PerChannel(1), precisions()["int3"].quantize)
    register(one)
    packed = sum(n * -(-k * 3 // 8) for n, k in linear_shapes())  # one bit lies in the operands of three
    try:
        document = inspect(capsys, str(CHECKPOINT))
    finally:
        unregister("one-bit")
    assert document["weight_bytes"]["one-bit"] == packed + 5 * document["output_channels"]


def test_inspect_hrm(capsys):
    folder = str(HRM)
    document = inspect(capsys, folder)
    expected = {"family": "hrm", "layers": 2, "h_layers": 1, "halt_rule": "q_halt>q_continue", "rows": 10}
    assert {k: document[k] for k in expected} == expected
    low, high = (document["macs_by_block"][level] for level in ("L_level", "H_level"))
    assert low == 2 * high == document["macs_per_call"]
    assert document["macs_per_step"] == 4 * low + 2 * high + (9 * 7 + 2) * 8 and document["calls_per_step"] == 6
    assert main(["inspect", folder]) == 0
    out = capsys.readouterr().out
    assert "HRM" in out and "layers: 2 in L_level and 1 in H_level" in out and "MACs a call" in out


def test_assumptions_are_shown(tmp_path, capsys):
    write_model(tmp_path, arch(mlp_t=True), config=False)
    document = inspect(capsys, str(tmp_path))
    assert any("halt_max_steps" in note for note in document["notes"])
    assert main(["inspect", str(tmp_path)]) == 0
    assert "note: halt_max_steps" in capsys.readouterr().err


def test_inspect_attention_with_data(tmp_path, capsys):
    file = write_model(tmp_path / "run", arch(), dataset=False)
    assert main(["inspect", str(file)]) == 3
    assert "--data" in capsys.readouterr().err
    data = write_dataset(tmp_path / "d")
    assert inspect(capsys, str(file), "--data", str(data))["seq_len"] == 9


def test_convert_and_read_again(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["convert", str(CHECKPOINT), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] == 15
    first, second = (inspect(capsys, str(p)) for p in (CHECKPOINT, out))
    same = set(first) - {"source", "sha256"}
    assert {k: first[k] for k in same} == {k: second[k] for k in same}
    assert main(["convert", str(CHECKPOINT), str(tmp_path / "half"), "--dtype", "bf16"]) == 0
    size = (tmp_path / "half" / "model.safetensors").stat().st_size
    assert size < 0.55 * (out / "model.safetensors").stat().st_size


def test_errors_leave_nothing(tmp_path, capsys):
    (tmp_path / "step_1").write_bytes(b"junk")
    assert main(["convert", str(tmp_path / "step_1"), str(tmp_path / "out")]) == 3
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("x")
    assert main(["convert", str(CHECKPOINT), str(tmp_path / "file")]) == 3
    assert main(["convert", str(CHECKPOINT), str(tmp_path / "file" / "below")]) == 3
    out = capsys.readouterr()
    assert "Traceback" not in out.err and (tmp_path / "file").read_text() == "x"
    assert main(["convert", str(CHECKPOINT), str(tmp_path / "o")]) == 0
    assert main(["convert", str(tmp_path / "o"), str(tmp_path / "o")]) == 3
    assert main(["inspect", str(tmp_path / "o")]) == 0
