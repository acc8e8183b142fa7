from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from capwright.scorers import Length, Scorer, ScorerSpec, get_scorer, list_scorers, register_scorer
from capwright.scorers.base import ratio, write_signature
from capwright.scorers.registry import options_of
from capwright.text.digest import fingerprint
from capwright.types import ScorerError


def test_every_scorer_can_be_made():
    assert set(list_scorers()) >= {"tts", "length"}
    for name in ("tts", "length"):
        scorer = get_scorer(name)
        assert isinstance(scorer, Scorer)
        assert scorer.spec.name == name


def test_unknown_names_and_options_name_the_nearest():
    with pytest.raises(ScorerError, match="'lenght'; did you mean 'length'"):
        get_scorer("lenght")
    with pytest.raises(ScorerError, match="'penality'; did you mean 'penalty'"):
        get_scorer("tts", penality=1)
    with pytest.raises(ScorerError, match="length: has no option 'max'.*no options"):
        get_scorer("length", max=3)


class AnyEmbedder:
    """Stands for an encoder: options are checked before it is used."""

    def embed(self, texts):
        return []


#: No option takes any of these.
WRONG = (b"x", {1: 2}, ["a", 1], object(), -1, float("nan"), -math.inf)
WRONG_FOR = {
    "a number": ("abc", "", "1", True, None, ["a"], {"a": 1}, 10**400),
    "a whole number": ("abc", "", 1.5, True, [1]),
    "true or false": ("true", "", 0, 1, None, [True]),
    "text": (True, 0, 1.5, ["a"], {"a": 1}),
}
KINDS = {
    "a number": {"alpha", "baseline", "levels", "penalty", "sigma", "timeout"},
    "a whole number": {
        "batch", "beta", "budget", "char_order", "layer", "max_tokens", "n", "seed", "trials", "word_order",
    },
    "true or false": {
        "cache", "effective_order", "lowercase", "omissions", "image", "pointable", "reference", "references",
        "shuffle", "soft", "strict_paper",
    },
    "text": {
        "device", "evidence", "facts", "free", "how", "idf", "itself", "language", "match", "memory", "mode", "model",
        "objects", "orders", "own", "parts", "pool", "revision", "tokenizer", "weights",
    },
    "Embedder": {"embedder"},
}  # fmt: skip
#: Options that take objects of many kinds; the tests of their scorers say what they refuse.
OPEN = {"judge", "balcap.language", "learn_from", "opponents", "reader"}
OPTIONS = [
    (name, option)
    for name in list_scorers()
    for option in options_of(name)
    if option not in OPEN and f"{name}.{option}" not in OPEN
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_of_the_wrong_type_is_refused_in_words(name, option):
    (kind,) = (kind for kind, options in KINDS.items() if option in options)
    given = {"embedder": AnyEmbedder()} if "embedder" in options_of(name) and option != "model" else {}
    for value in (*WRONG, *WRONG_FOR.get(kind, ())):
        with pytest.raises(ScorerError, match=f"^{name}: {option} (must be .*, not |has the unknown key)"):
            get_scorer(name, **given | {option: value})


def test_an_option_may_be_a_list_or_an_object_of_numbers():
    get_scorer("tts", levels=[1, 0.5, 0])
    get_scorer("tts", levels={"vague": 0.1}, penalty=np.float32(0.5))
    for levels in ([1, "a", 0], {"vague": "a"}, {"vague": True}, "abc", 3):
        with pytest.raises(ScorerError, match=r"^tts: levels must be an object \(a number each\) or a list"):
            get_scorer("tts", levels=levels)
    with pytest.raises(ScorerError, match="^tts: levels must be .*, not "):
        get_scorer("tts", levels={1: 0.5})
    with pytest.raises(ScorerError, match=r"^ciderD: idf must be text or a path, not \['coco'\]"):
        get_scorer("ciderD", idf=["coco"])


def test_a_scorer_of_your_own():
    register_scorer("my-length", Length)
    assert get_scorer("my-length").spec.headline == "words"
    with pytest.raises(ScorerError, match="exists"):
        register_scorer("tts", Length)


def test_specs_are_checked_and_know_ranges():
    spec = ScorerSpec("x", "1", ("a",), {"a": (0, 2), "tier": (0, 1)}, rewards=("shaped",))
    assert (spec.range_of("a"), spec.range_of("tier:rare"), spec.range_of("shaped")) == ((0, 2), (0, 1), (0, 1))
    assert spec.range_of("b") == (-np.inf, np.inf)
    with pytest.raises(ScorerError, match="unit"):
        ScorerSpec("x", "1", ("a",), {}, unit="corpus")
    with pytest.raises(ScorerError, match="output"):
        ScorerSpec("x", "1", (), {})
    with pytest.raises(ScorerError, match="main 'c' is not one of its outputs a, b"):
        ScorerSpec("x", "1", ("a", "b"), {}, main="c")
    assert [ScorerSpec("x", "1", ("a", "b"), {}, main=main).headline for main in ("", "b")] == ["a", "b"]


def test_signatures_and_fingerprints():
    assert write_signature("m", n=4, w=(1.0, 0.5, 0), idf=None, tok="x") == "m|n:4|w:1/.5/0|tok:x"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})


def test_nothing_over_nothing_is_unknown():
    np.testing.assert_array_equal(ratio(np.array([0.0, 1, 2]), np.array([0.0, 2, 1])), [np.nan, 0.5, 2])


def test_measuring_needs_no_torch():
    code = (
        "import sys, capwright.scorers as s; s.get_scorer('tts'), s.get_scorer('length'); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_options_go_by_their_old_names_too():
    with pytest.warns(FutureWarning, match="caprl: the option assistant is called judge now"):
        old = get_scorer("caprl", assistant="lexical", n=3)
    new = get_scorer("caprl", judge="lexical", n=3)
    assert vars(old)["_judge"] == vars(new)["_judge"] == "lexical"
    with pytest.raises(ScorerError, match="has no option 'assistant'"):
        get_scorer("bleu", assistant="lexical")
