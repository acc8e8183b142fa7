from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.curation import Subset
from capwright.types import NO_IMAGE, Sample, Term


def sample(id, names=()):
    return Sample(id, NO_IMAGE, terms=tuple(map(Term, names)))


def ids(samples):
    return [each.id for each in samples]


def test_a_part_is_drawn_by_seed_and_id_and_stays_in_order():
    samples = [sample(str(i)) for i in range(50)]
    drawn = ids(Subset(n=20, seed=4)(samples))
    assert len(drawn) == 20
    assert drawn == sorted(drawn, key=int)
    assert drawn != ids(Subset(n=20, seed=5)(samples))
    assert set(drawn) == set(ids(Subset(n=20, seed=4)(samples[::-1])))
    longer = set(ids(Subset(n=20, seed=4)([*samples, *(sample(f"new-{i}") for i in range(9))])))
    assert {id for id in longer if not id.startswith("new")} <= set(drawn)
    assert ids(Subset()(samples)) == ids(samples)
    assert ids(Subset(n=99)(samples)) == ids(samples)


def test_frequent_names_are_capped_and_rare_ones_are_not_lost():
    frequent = [sample(f"f{i}", ["board"]) for i in range(30)]
    rare = [sample(f"r{i}", ["abacus", "board"]) for i in range(3)]
    bare = [sample("bare")]
    step = Subset(per_term=5)
    made = list(step([*frequent, *rare, *bare]))
    assert {"r0", "r1", "r2", "bare"} <= set(ids(made))
    assert Counter(term.name for each in made for term in each.terms) == {"board": 5, "abacus": 3}
    assert step.tally.dropped_samples == {"names that 5 samples have": 28}
    few = ids(Subset(per_term=5, n=3)([*frequent, *rare, *bare]))
    assert few == ["r0", "r1", "r2"], "rare names first"


NAMES = st.lists(st.sampled_from("abcdef"), max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, max_size=20), st.integers(1, 4), st.integers(0, 3))
def test_every_name_is_there_as_often_as_it_can(all_names, cap, seed):
    samples = [sample(str(i), names) for i, names in enumerate(all_names)]
    made = list(Subset(per_term=cap, seed=seed)(samples))
    before = Counter(name for each in samples for name in {term.name for term in each.terms})
    after = Counter(name for each in made for name in {term.name for term in each.terms})
    for name, n in before.items():
        assert after[name] >= min(n, cap)
    left_out = [each for each in samples if each.id not in set(ids(made))]
    assert all(after[term.name] >= cap for each in left_out for term in each.terms)
