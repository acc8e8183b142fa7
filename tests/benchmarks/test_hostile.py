from __future__ import annotations

import pytest

from hostile import KINDS, walk

#: Attempts that once failed, each for a fault of its own.
FAILED = [("yaml", 1100), ("yaml", 5205), ("models", 1027), ("models", 10_286)]


def test_some_hostile_inputs_do_no_harm():
    plan = [*FAILED, *((kind, seed) for seed in range(4) for kind in KINDS)]
    faults = {f"{kind}:{seed}": fault for (kind, seed), fault in zip(plan, walk(plan)) if fault}
    assert len(plan) == 32
    assert faults == {}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_many_hostile_inputs_do_no_harm():
    kinds = list(KINDS)
    plan = [(kinds[n % len(kinds)], 10_000 + n) for n in range(300)]
    assert {f"{kind}:{seed}": fault for (kind, seed), fault in zip(plan, walk(plan)) if fault} == {}


@pytest.mark.parametrize("fault", ["code", "number", "control"])
def test_the_walk_notices(monkeypatch, fault):
    """It would be of no use if it could not fail."""
    import hostile

    if fault == "code":
        monkeypatch.setitem(KINDS, "ids", lambda draw, folder, world: (folder / "owned").touch() or hostile.Attempt([]))
    elif fault == "number":
        honest = KINDS["captions"]
        wrong = lambda *given: setattr(made := honest(*given), "scores", dict.fromkeys(made.scores, 0.5)) or made  # noqa: E731
        monkeypatch.setitem(KINDS, "ids", wrong)
    else:
        monkeypatch.setattr(hostile, "CONTROL", hostile.re.compile("r"))
    assert any(walk([("ids", seed) for seed in range(3)]))
