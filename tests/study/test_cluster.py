"""--scheduler: a Dask scheduler and a worker as processes of their own give the same results as threads here."""

import json
import subprocess
import sys
import time

import pytest

from recurc.errors import RecurcError, ToolchainError
from recurc.study.cluster import Cluster
from recurc.study.settings import Aim
from recurc.study.tune import variants_of
from recurc.study.variants import Variant
from tests.study.bench import workbench
from tests.study.searching import CONFIG
from tests.study.searching import search as search_on_threads


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    started: list[subprocess.Popen] = []

    def start(name: str, *options: str) -> None:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{name}", *options],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    start("dask_worker", "--scheduler-file", str(file), "--nthreads", "2", "--no-nanny", "--no-dashboard")
    try:
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.2)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in started:
            process.kill()
            process.wait()


def connected(address: str) -> Cluster:
    """The cluster once its worker has registered."""
    for _ in range(100):
        try:
            return Cluster(address)
        except ToolchainError as error:
            assert "no workers" in error.what
            time.sleep(0.3)
    raise AssertionError("no worker registered")


def test_a_cluster_gives_the_same_results(scheduler, tmp_path):
    variants = [
        Variant("fp32", "fp32", steps=2),
        Variant("int4", engine="fake", steps=2),
        Variant("int8", "int8-static", steps=2),
    ]
    here = workbench(70).evaluate(variants)
    with connected(scheduler) as cluster:
        assert cluster.workers == 2
        there = workbench(70).evaluate(variants, cluster)
    assert [o.as_dict() for o in there] == [o.as_dict() for o in here]


def test_a_search_on_a_cluster_ends_at_the_same_choice(scheduler):
    """As `recurc tune --scheduler`: rounds of few puzzles and the confirmation go through the cluster."""
    variants = variants_of(CONFIG, names=("int8", "int4"), carries=("fp32",), h_cycles=(2,), l_cycles=(1, 2))
    for search in search_on_threads(Aim("exact", 0.2), n=64):
        here = search.run(variants).choice
        with connected(scheduler) as cluster:
            search.executor = cluster
            there = search.run(variants).choice
    assert there.arm.variant == here.arm.variant and there.search == here.search and there.held == here.held


def test_errors_of_workers_arrive_whole():
    import pickle

    error = pickle.loads(pickle.dumps(ToolchainError("a", where="b", why="c", next="d")))
    assert isinstance(error, RecurcError) and error.as_dict() == {
        "code": "toolchain",
        "what": "a",
        "where": "b",
        "why": "c",
        "next": "d",
    }


def test_no_scheduler_is_said():
    with pytest.raises(ToolchainError, match="no Dask scheduler answers"):
        Cluster("tcp://127.0.0.1:9", timeout=1)
