"""The benchmark of work spread over a cluster."""

import sys

import numpy as np
import pytest

from emogap.errors import EmogapError, UsageError
from tools.bench import ratio, run_benchmark
from tools.benchmarks import scale


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"Ray is not installed; pip install -r requirements-cluster\.txt"):
        run_benchmark("scale", ["--lines", "4"])


def test_one_core_is_too_few(monkeypatch):
    monkeypatch.setattr(scale.os, "sched_getaffinity", lambda pid: {0})
    with pytest.raises(UsageError, match=r"two workers want two cores, this process may use 1"):
        run_benchmark("scale", [])


@pytest.mark.parametrize(
    "parts, message",
    [({0: np.zeros((2, 28))}, r"Ray, 1 worker gave 2 of 4 rows"), ({0: np.ones((4, 28))}, r"differ .* by 1\.0e\+00")],
)
def test_a_way_that_loses_or_changes_rows_has_no_rate(parts, message):
    with pytest.raises(EmogapError, match=message):
        scale._check_same({scale.NO_RAY: {0: np.zeros((4, 28))}, scale.ONE: parts}, 4)


@pytest.mark.slow
def test_it_measures_a_cluster_of_its_own(capsys):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-cluster.txt")
    ray.shutdown()
    timings = scale.compare(scale.sample_lines(24), 6, rounds=1)
    printed = capsys.readouterr().out
    assert [timing.name for timing in timings] == [scale.NO_RAY, scale.ONE, scale.TWO, scale.NO_RAY_TWO]
    assert all(timing.units == 24 for timing in timings)
    assert f"a second worker: {ratio(timings, scale.TWO, scale.ONE):.2f}× one worker" in printed
    assert "all ways gave all 24 rows" in printed and not ray.is_initialized()
