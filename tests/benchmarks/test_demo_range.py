"""The benchmark of the demo's range: which runs there are, and where two of them differ first."""

from __future__ import annotations

import pytest

import demo_range

ONE = [
    {"stage": "warmup", "step": 1, "loss": 0.5, "reward": None},
    {"stage": "rsrs", "step": 1, "loss": 0.25, "reward": {"tts": 0.5}},
    {"stage": "rsrs", "step": 2, "loss": 0.125, "reward": {"tts": 0.5}},
]


def test_the_usual_run_comes_first_and_nothing_runs_twice():
    found = demo_range.settings([3, 4], [1, 2, 4], ["native", "avx2"])
    assert found[0] == (3, 2, "native")
    assert len(found) == len(set(found)) == 5
    assert found[-1] == (4, 2, "native")


@pytest.mark.parametrize("kernels", demo_range.KERNELS)
def test_a_run_has_its_own_threads_and_kernels(kernels, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx512")
    found = demo_range.environment(4, kernels)
    assert found["OMP_NUM_THREADS"] == "4"
    assert found.get("ATEN_CPU_CAPABILITY") == demo_range.KERNELS[kernels].get("ATEN_CPU_CAPABILITY")


def test_where_two_journals_differ_first():
    other = [dict(row) for row in ONE]
    assert set(demo_range.first_difference(ONE, other, ("loss", "reward")).values()) == {None}
    other[1] = {**ONE[1], "loss": 0.250001}
    other[2] = {**ONE[2], "reward": {"tts": 0.75}}
    assert demo_range.first_difference(ONE, other, ("loss", "reward")) == {
        "stage": "rsrs",
        "step": 1,
        "key": "loss",
        "here": 0.25,
        "there": 0.250001,
    }
    found = demo_range.first_difference(ONE, other, ("reward",))
    assert (found["stage"], found["step"], found["here"], found["there"]) == ("rsrs", 2, 0.5, 0.75)


def test_weights_are_told_apart(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    digests = [demo_range.digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
