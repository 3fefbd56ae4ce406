"""The report document: sums that add up, verdicts, what a build's manifest says."""

from __future__ import annotations

import json

import pytest

from recurc.build.manifest import load_build
from recurc.errors import UsageError
from recurc.report.document import SCHEMA, printable, report_build, report_plan
from recurc.report.planning import plan_checkpoint
from recurc.report.regions import region_rows, sum_text
from recurc.report.wording import change_rows, fact_rows, linked_text, schedule_text, verdict_text
from recurc.solve import Policy
from tests.report.samples import build_folder, config, document, sized

CASES = {
    "paper": lambda: document(board=sized("stm32h7", flash=4 << 20)),
    "qspi": lambda: document(),
    "attention": lambda: document(config("attention", seq_len=900), board="mps2-an386", precision="int8"),
    "int8 carry": lambda: document(
        config("attention", seq_len=900, num_puzzle_identifiers=400_000),
        board="mps2-an386",
        precision="int8",
        carry="int8",
        puzzle_table="int8",
    ),
    "fp32": lambda: document(config(hidden_size=128, puzzle_emb_ndim=128), board="riscv32-virt", precision="fp32"),
    "too large": lambda: document(board=sized("stm32h7", qspi=64 << 10), precision="int8"),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    return CASES[request.param]()


def covered(pieces) -> int:
    """Bytes of a region that any piece covers, one byte after the other counted once."""
    edges = sorted({p["address"] for p in pieces} | {p["address"] + p["bytes"] for p in pieces})
    return sum(
        b - a for a, b in zip(edges, edges[1:]) if any(p["address"] <= a and b <= p["address"] + p["bytes"] for p in pieces)
    )


def test_sums_add_up(case):
    assert case["regions"]
    for r in case["regions"]:
        assert sum(r["parts"].values()) == r["used"]
        assert r["used"] + r["free"] == r["size"]
        assert covered(r["pieces"]) == r["used"] - r["parts"].get("padding", 0)
        assert all(p["offset"] == p["address"] - r["base"] for p in r["pieces"])
        if r["used"]:
            terms, _, total = sum_text(r).partition(" = ")
            numbers = [int(term.split()[-1].replace(",", "")) for term in terms.split(" + ")]
            assert sum(numbers) == r["used"] == int((total or str(numbers[0])).replace(",", ""))


def test_every_region_of_the_board_is_there_once(case):
    names = [r["name"] for r in case["regions"]]
    assert len(names) == len(set(names))
    if case["target"] == "stm32h7":
        assert set(names) == {"flash", "itcm", "dtcm", "axisram", "sram123", "sram4", "qspi"}


def test_the_document_is_json(case):
    assert json.loads(json.dumps(case)) == case and case["schema"] == SCHEMA


def test_verdicts():
    good, bad = CASES["paper"](), CASES["too large"]()
    assert good["fits"] and verdict_text(good) == f"fits {good['board']['title']}" and change_rows(good) == []
    assert not bad["fits"]
    flash = next(r for r in bad["regions"] if r["name"] == "flash")
    assert flash["free"] < 0 and bad["missing_bytes"] == -flash["free"]
    assert verdict_text(bad) == f"does not fit: {bad['missing_bytes']:,} bytes more in flash"
    outcomes = {options: outcome for _, options, outcome in change_rows(bad)}
    assert "precision='int4'" in outcomes and outcomes["precision='int4'"].startswith("does not fit alone, saves ")
    assert " bytes more in flash" in outcomes["precision='int4'"]


def test_model_figures_are_the_paper_shapes():
    d = CASES["paper"]()
    rows = dict(fact_rows(d))
    assert d["model"]["macs_per_puzzle"] == 16 * d["model"]["macs_per_step"]
    assert rows["MACs a call"] == "610.3 M (610,271,232)"
    assert rows["MACs a step"].startswith("12.82 G (12,8")
    assert schedule_text(d) == "16 steps, each 3 x (6 x low-level call, then 1 high-level call), then the heads"
    trained = {"steps": 16, "h_cycles": 3, "l_cycles": 6}
    assert schedule_text({**d, "trained": trained}) == schedule_text(d)
    assert schedule_text({**d, "trained": {**trained, "steps": 8}}).endswith("the heads; trained with 8 steps of 3 x 6")
    assert rows["stack"] == f"{d['stack']['reserved']:,} bytes reserved, high-water not measured"
    assert "needs qspi" not in rows and "needs qspi" in dict(fact_rows(CASES["qspi"]()))


def test_stack_and_blocks_are_told():
    d = CASES["paper"]()
    d["stack"].update(
        worst=1234,
        path=[{"function": "main", "bytes": 48}, {"function": "rc_serve", "bytes": 1090}],
        interrupt_bytes=96,
        measured=1100,
    )
    d["model"]["macs_by_block"] = {"L_level": 1_000_000, "H_level": 2_000_000}
    rows = dict(fact_rows(d))
    assert rows["stack"] == f"{d['stack']['reserved']:,} bytes reserved, worst path 1,234, measured high-water 1,100"
    assert rows["worst path"] == "main 48 > rc_serve 1,090, and 96 for an interrupt"
    assert rows["MACs a call"] == "L_level 1 M, H_level 2 M"


def test_a_streamed_table_is_told():
    d = CASES["paper"]()
    d["table"] = {"bytes": 5000, "region": "qspi", "address": 0x90000000, "mode": "memory-mapped"}
    assert dict(fact_rows(d))["puzzle table"] == "5,000 bytes in a file of its own, memory-mapped in qspi at 0x90000000"
    d["table"] = {"bytes": 5000, "region": None, "address": None, "mode": "wire"}
    assert dict(fact_rows(d))["puzzle table"].endswith("rows over the wire")


def test_report_of_a_build(tmp_path):
    build = load_build(build_folder(tmp_path))
    d = report_build(build)
    rows = dict(fact_rows(d))
    assert not d["estimated"] and d["source"]["path"] == str(tmp_path) and d["source"]["build_id"] == "ef" * 16
    assert rows["planned = linked"] == "yes, to the byte: 2 sections, 12,345 bytes, read from the ELF"
    assert rows["fidelity"] == "0.9876 after one step, 32 calibration puzzles"
    assert rows["accuracy"] == "90.0 % puzzles exact, 97.0 % cells, first 40 test puzzles, after step 16"
    assert "links within the real memory map" in rows["stm32h7"] and "twin" in rows["mps2-an500"]
    host = report_build(build, "host")
    assert host["regions"] == [] and host["linked"] is None and host["twin"] is None
    with pytest.raises(UsageError, match="stm32h7, host"):
        report_build(build, "mps2-an386")


def test_where_the_least_fidelity_comes_from_is_said():
    d = CASES["paper"]()
    d["fidelity"] = {
        "value": 0.97,
        "n": 32,
        "error": 0.003,
        "inputs": "training puzzles that calibration did not use",
        "least": 0.96,
        "least_from": "the default",
    }
    assert dict(fact_rows(d))["fidelity"] == (
        "0.9700 ± 0.0030 after one step, 32 training puzzles that calibration did not use; at least 0.96 is needed (the "
        "default)"
    )
    d["fidelity"]["inputs"] = "random inputs"
    assert "is needed" not in dict(fact_rows(d))["fidelity"], "told, not judged"


def test_a_link_that_differs_is_said():
    assert linked_text({"equal": False, "differences": [".text bytes planned 1, linked 2"], "sections": []}) == (
        "NO: .text bytes planned 1, linked 2"
    )
    assert linked_text({"equal": True, "differences": [".bss address"], "sections": []}).startswith("yes, but for alignment")


def test_manifests_without_a_plan_still_give_their_sums():
    (row,) = region_rows([{"name": "flash", "kind": "flash", "size": 1000, "used": 300, "parts": {"code": 100, "image": 200}}])
    assert row["base"] is None and row["pieces"] == [] and row["free"] == 700
    assert sum_text(row) == "image 200 + code 100 = 300"


def test_control_characters_do_not_pass():
    assert printable({"a\x1b[31m": ["x\x00y\n", 3, None]}) == {
        "a\N{REPLACEMENT CHARACTER}[31m": ["x\N{REPLACEMENT CHARACTER}y\N{REPLACEMENT CHARACTER}", 3, None]
    }


def test_a_plan_that_only_the_estimate_of_code_rules_out_is_left_open():
    """8 KiB of flash for code, weights elsewhere: less than estimated, more than the least that code could take."""
    small = sized("stm32h7", flash=8 << 10)
    planned = plan_checkpoint(config(), small, "int4")
    source = {"name": "m", "checkpoint": "m", "sha256": ""}
    made = report_plan(planned.summary, small, source, precision="int4", carry="fp32", depth=planned.depth)
    assert planned.error is None and made["open"] and verdict_text(made).startswith("may fit")
    assert plan_checkpoint(config(), sized("stm32h7"), "int4").summary["verdict"]["open"] is False


def test_accuracy_is_said_with_its_error_and_what_halting_costs(tmp_path):
    def rows(halting):
        accuracy = {
            "n": 40,
            "cell": 0.97,
            "exact": 0.9,
            "exact_error": 0.05,
            "fp32_cell": 0.99,
            "fp32_exact": 0.95,
            "halting": {
                "threshold": 0.0,
                "min_steps": 1,
                "patience": 1,
                "cell": 0.9,
                "exact": 0.8,
                "mean_steps": 4.0,
                **halting,
            },
        }
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return dict(fact_rows(report_build(load_build(build_folder(folder, accuracy=accuracy)))))

    found = rows({"lost": 0.1, "lost_error": 0.04})
    assert found["accuracy"].startswith("90.0 ± 5.0 % puzzles exact (fp32 95.0 %), 97.0 % cells")
    assert found["halting"] == (
        "stopping early costs 10.00 ± 4.00 points exact and saves 75 % of the steps; "
        "`recurc tune m --target stm32h7` looks for a rule that keeps them"
    )
    assert "tune" not in rows({"lost": 0.01, "lost_error": 0.04})["halting"], "no more than its error"
    assert "tune" not in rows({"lost": 0.1, "lost_error": 0.04, "threshold": 1.0})["halting"], "that rule was chosen"


def test_fp32_beside_a_build_of_another_depth_is_said_to_be_at_that_depth(tmp_path):
    d = report_build(load_build(build_folder(tmp_path / "b"), to_run=False))
    accuracy = {"n": 8, "cell": 1.0, "exact": 0.9, "exact_error": 0.05, "fp32_cell": 1.0, "fp32_exact": 0.95}
    assert "(fp32 95.0 %)" in dict(fact_rows({**d, "accuracy": accuracy}))["accuracy"]
    d["trained"] = {**d["trained"], "l_cycles": 1}
    assert "(fp32 at this depth 95.0 %)" in dict(fact_rows({**d, "accuracy": accuracy}))["accuracy"]


def test_noise_without_a_place_is_at_the_start():
    solve = {"symmetry": "none", "forms": 0, **Policy(8, 4, noise=0.5).as_dict()}
    del solve["noise_at"], solve["seed"]
    assert "with noise of 0.5 at the start" in dict(fact_rows({**CASES["paper"](), "solve": solve}))["answers"]
