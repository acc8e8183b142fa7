from __future__ import annotations

import inspect
import math
import subprocess
import sys
import types

import numpy as np
import pytest

from capwright.scorers import TTS, Length, Scorer, ScorerSpec, get_scorer, list_scorers, register_scorer, registry
from capwright.scorers.base import ratio, write_signature
from capwright.scorers.options import describe, parameters_of
from capwright.scorers.registry import built_in_scorers, find_scorer, options_of, scorer_specs
from capwright.text.digest import fingerprint
from capwright.types import PluginError, ScorerError
from places import ROOT

BUILT_IN = tuple(built_in_scorers())


def test_every_scorer_can_be_made():
    assert set(list_scorers()) >= {"tts", "length"}
    for name in ("tts", "length"):
        scorer = get_scorer(name)
        assert isinstance(scorer, Scorer)
        assert scorer.spec.name == name


def test_unknown_names_and_options_name_the_nearest():
    with pytest.raises(ScorerError, match="'lenght'; did you mean 'length'"):
        get_scorer("lenght")
    with pytest.raises(ScorerError, match=r'^tts\.penality: unknown option; did you mean "penalty"\? It has: levels, '):
        get_scorer("tts", penality=1)
    with pytest.raises(ScorerError, match=r"^length\.max: unknown option\. It has: none"):
        get_scorer("length", max=3)
    with pytest.raises(ScorerError, match=r"^tts\.penalty: .*\ntts\.colour: unknown"):  # all that is wrong at once
        get_scorer("tts", penalty=-1, colour="red")


class AnyEmbedder:
    """Stands for an encoder: options are checked before it is used."""

    name, settings = "any", types.MappingProxyType({})

    def tokenize(self, texts):
        return []

    embed = tokenize


#: No option takes any of these.
WRONG = (b"x", {1: 2}, ["a", 1], object(), -1, float("nan"), -math.inf)
WRONG_FOR = {
    "a number": ("abc", "", "1", True, None, ["a"], {"a": 1}, 10**400),
    "a whole number": ("abc", "", 1.5, True, [1]),
    "true or false": ("true", "", 0, 1, None, [True]),
    "text": (True, 0, 1.5, ["a"], {"a": 1}),
}
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
    told = describe(parameters_of(find_scorer(name))[option].hint)
    kind = "a number" if told.startswith("seconds") else next((kind for kind in WRONG_FOR if kind in told), "text")
    kind = kind if not told.startswith("Embedder") else ""
    given = {"embedder": AnyEmbedder()} if "embedder" in options_of(name) and option != "model" else {}
    for value in (*WRONG, *WRONG_FOR.get(kind, ())):
        with pytest.raises(ScorerError, match=f"^{name}.{option}: must be .*, not "):
            get_scorer(name, **given | {option: value})


def test_an_option_may_be_a_list_or_an_object_of_numbers():
    get_scorer("tts", levels=[1, 0.5, 0])
    get_scorer("tts", levels={"vague": 0.1}, penalty=np.float32(0.5))
    for levels in ([1, "a", 0], {"vague": "a"}, {"vague": True}, "abc", 3):
        with pytest.raises(ScorerError, match=r"^tts\.levels: must be an object \(a number each\) or a list"):
            get_scorer("tts", levels=levels)
    with pytest.raises(ScorerError, match=r"^tts\.levels: must be .*, not "):
        get_scorer("tts", levels={1: 0.5})
    with pytest.raises(ScorerError, match=r"^ciderD\.idf: must be text or a path, not \['coco'\]"):
        get_scorer("ciderD", idf=["coco"])


def test_options_are_told_in_words_and_the_nearest_word_is_named():
    with pytest.raises(ScorerError, match=r'^caprl\.mode: must be "paper" or "all-questions", not .all. *'):
        get_scorer("caprl", mode="all")
    with pytest.raises(ScorerError, match=r"not 'spilt'; did you mean \"split\"\?"):
        get_scorer("bleu", tokenizer="spilt")
    with pytest.raises(ScorerError, match=r"^cccaption\.alpha: must be a number from 0 to 1, not 2"):
        get_scorer("cccaption", alpha=2)
    with pytest.raises(ScorerError, match=r"^chrf\.beta: must be a whole number from 1 to 100, not '3'"):
        get_scorer("chrf", beta="3")


def test_a_class_checks_its_options_too_and_says_which_it_has():
    with pytest.raises(ScorerError, match=r"^tts\.penalty: must be a number, 0 or more, not True"):
        TTS(penalty=True)
    assert list(inspect.signature(TTS).parameters) == list(options_of("tts")) == ["levels", "penalty"]
    assert TTS(penalty=2).penalty == 2.0
    assert isinstance(TTS(penalty=2).penalty, float)


class Free(Length):
    """A scorer of one's own that makes itself."""

    def __init__(self, unknown: NotThere = 3, *, least: int = 0, **others) -> None:  # noqa: F821
        self.given = (unknown, least, others)


def test_hints_that_cannot_be_read_take_everything():
    assert Free("x", least=2, more="y").given == ("x", 2, {"more": "y"})


def test_every_scorer_says_what_it_is_and_has_a_page():
    specs = scorer_specs()
    assert set(specs) >= {*BUILT_IN}
    for name in BUILT_IN:
        spec = specs[name]
        assert spec.name == name
        assert 10 < len(spec.about) < 110
        assert (ROOT / "docs" / "methods" / f"{spec.page}.md").is_file(), name


def test_a_scorer_of_your_own():
    register_scorer("my-length", Length)
    assert get_scorer("my-length").spec.headline == "words"
    assert "my-length" in list_scorers()
    for name in ("tts", "similarity"):
        with pytest.raises(ScorerError, match="exists"):
            register_scorer(name, Length)
    with pytest.raises(PluginError, match="my-length: .* has a scorer of this name, and so has"):
        register_scorer("my-length", TTS)
    with pytest.raises(ScorerError, match="is no scorer"):
        register_scorer("three", 3)


def test_a_function_that_makes_a_scorer():
    def make(penalty: float = 2.0):
        return TTS(penalty=penalty)

    register_scorer("strict-tts", make)
    assert get_scorer("strict-tts").penalty == 2
    with pytest.raises(ScorerError, match=r"^strict-tts\.penalty: must be a number, not 'x'"):
        get_scorer("strict-tts", penalty="x")
    with pytest.raises(ScorerError, match=r"^strict-tts\.levels: unknown option"):
        get_scorer("strict-tts", levels=(1, 1, 1))
    register_scorer("broken", lambda: 1 / "x")
    with pytest.raises(ScorerError, match="broken: cannot be made with {}"):
        get_scorer("broken")


def test_a_scorer_by_its_place():
    assert isinstance(get_scorer("capwright.scorers.objects.tts:TTS", penalty=3.0), TTS)
    assert get_scorer(TTS, penalty=3.0).penalty == 3
    for place, why in {
        "no_such.module:X": "ModuleNotFoundError",
        "capwright.scorers:Nothing": "AttributeError",
    }.items():
        with pytest.raises(ScorerError, match=f"^the scorer {place} cannot be had: {why}"):
            get_scorer(place)


def test_specs_are_checked_and_know_ranges():
    spec = ScorerSpec("x", "1", ("a",), {"a": (0, 2), "tier": (0, 1)}, rewards=("shaped",))
    assert (spec.range_of("a"), spec.range_of("tier:rare"), spec.range_of("shaped")) == ((0, 2), (0, 1), (0, 1))
    assert spec.range_of("b") == (-np.inf, np.inf)
    with pytest.raises(ScorerError, match="unit"):
        ScorerSpec("x", "1", ("a",), {}, unit="corpus")
    assert ScorerSpec("x").outputs == ("x",)
    assert [ScorerSpec("x", ranges=ranges).range_of("x") for ranges in (None, {})] == [(0, 1), (-np.inf, np.inf)]
    with pytest.raises(ScorerError, match="main 'c' is not one of its outputs a, b"):
        ScorerSpec("x", "1", ("a", "b"), {}, main="c")
    assert [ScorerSpec("x", "1", ("a", "b"), {}, main=main).headline for main in ("", "b")] == ["a", "b"]


def test_signatures_and_fingerprints():
    assert write_signature("m", n=4, w=(1.0, 0.5, 0), idf=None, tok="x") == "m|n:4|w:1/.5/0|tok:x"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})


def test_nothing_over_nothing_is_unknown():
    np.testing.assert_array_equal(ratio(np.array([0.0, 1, 2]), np.array([0.0, 2, 1])), [np.nan, 0.5, 2])


def test_measuring_needs_no_torch():
    heavy = {"torch", "transformers", "sacrebleu", "openai"}
    code = f"import sys, capwright.scorers as s; s.get_scorer('tts'), s.get_scorer('length'); s.list_scorers(); \
print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_one_scorer_imports_no_other_family():
    code = (
        "import sys, capwright; capwright.get_scorer('ciderD'); print('capwright.scorers.claims.balcap' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_options_go_by_their_old_names_too():
    with pytest.warns(FutureWarning, match="caprl: the option assistant is called judge now"):
        old = get_scorer("caprl", assistant="lexical", n=3)
    new = get_scorer("caprl", judge="lexical", n=3)
    assert old.judge == new.judge == "lexical"
    assert registry.option_problems("caprl", {"assistant": "lexical"}) == {}
    with pytest.raises(ScorerError, match=r"^bleu\.assistant: unknown option"):
        get_scorer("bleu", assistant="lexical")
