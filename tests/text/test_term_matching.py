from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.scorers import TermMatcher
from capwright.text.plurals import plurals_of, singulars_of
from capwright.types import DataError, Term, Vocabulary


def vocabulary(*terms: Term) -> Vocabulary:
    return Vocabulary({term.name: term for term in terms})


def named(matcher: TermMatcher, text: str) -> list[tuple[str, str]]:
    return [(text[m.start : m.end], matcher.entries[m.entry].name) for m in matcher.find(text)]


TOYS = vocabulary(
    Term("geoboard", aliases=("geo board",), category="board"),
    Term("pattern blocks", plurals=("pattern blocks",), category="blocks"),
    Term("shelf"),
    Term("cat"),
    Term("maracas", plurals=("maracas",), category="instrument"),
    Term("number balance", category="scale"),
    Term("cat's cradle"),
    Term("拼图", aliases=("七巧板",), category="玩具"),
    Term("积木"),
    Term("Lego 积木"),
    Term("지오보드"),
    Term("toy", level="vague"),
)
MATCHER = TermMatcher(TOYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A GEO-BOARD and two geoboards.", [("GEO-BOARD", "geoboard"), ("geoboards", "geoboard")]),
        ("geo, board", [("board", "board")]),
        ("geo\nboards", [("geo\nboards", "geoboard")]),
        ("Ｇｅｏ－ｂｏａｒｄ’s pegs", [("Ｇｅｏ－ｂｏａｒｄ", "geoboard")]),
        ("pattern blocks, blocks, a pattern block, one block", [
            ("pattern blocks", "pattern blocks"), ("blocks", "blocks"),
            ("pattern block", "pattern blocks"), ("block", "blocks")]),
        ("patterned blocks", [("blocks", "blocks")]),
        ("category scatter cats cat's concat", [("cats", "cat"), ("cat", "cat")]),
        ("the shelves and the bookshelves", [("shelves", "shelf")]),
        ("a maraca, maracas", [("maraca", "maracas"), ("maracas", "maracas")]),
        ("cat’s cradle", [("cat’s cradle", "cat's cradle")]),
        ("number-balance scales", [("number-balance", "number balance"), ("scales", "scale")]),
        ("孩子们在玩拼图和七巧板。", [("拼图", "拼图"), ("七巧板", "拼图")]),
        ("LEGO积木和积木块", [("LEGO积木", "Lego 积木"), ("积木", "积木")]),
        ("un geoboard, ein Geoboard, геоборд", [("geoboard", "geoboard"), ("Geoboard", "geoboard")]),
        ("큰지오보드를 봐요 ½", [("지오보드", "지오보드")]),
        ("some toys", [("toys", "toy")]),
        ("clipboard cupboard", []),
        ("", []),
    ],
)  # fmt: skip
def test_find(text, expected):
    assert named(MATCHER, text) == expected


def test_the_longest_name_wins_even_when_a_shorter_one_starts_earlier():
    matcher = TermMatcher(vocabulary(Term("red ring"), Term("ring stacker set"), Term("set")))
    assert named(matcher, "a red ring stacker set") == [("ring stacker set", "ring stacker set")]
    assert named(matcher, "a red ring set") == [("red ring", "red ring"), ("set", "set")]


def test_names_with_punctuation_match_with_it():
    matcher = TermMatcher(vocabulary(Term("rock & roll"), Term("jack-in-the-box"), Term("box of crayons")))
    assert named(matcher, "Rock & Roll, rock roll") == [("Rock & Roll", "rock & roll")]
    found = named(matcher, "jack in the boxes; boxes of crayons")
    assert [name for _, name in found] == ["jack-in-the-box", "box of crayons"]


@pytest.mark.parametrize(
    "terms",
    [
        (Term("geoboard", aliases=("peg board",)), Term("pegboard", aliases=("Peg-Board",))),
        (Term("geoboard"), Term("board", aliases=("geoboard",))),
        (Term("leaf"), Term("leave", plurals=("leaves",)), Term("tea leave", aliases=("leaves",))),
    ],
)
def test_a_name_of_two_terms_is_an_error_that_names_both(terms):
    with pytest.raises(DataError, match="belongs to two terms") as caught:
        TermMatcher(vocabulary(*terms))
    assert sum(repr(term.name) in str(caught.value) for term in terms) == 2


def test_a_written_name_beats_a_derived_one():
    matcher = TermMatcher(vocabulary(Term("glass"), Term("glasses")))
    assert named(matcher, "a glass and glasses") == [("glass", "glass"), ("glasses", "glasses")]


def test_a_name_without_letters_or_with_an_unknown_level_is_an_error():
    with pytest.raises(DataError, match="'ball'.*no letters"):
        TermMatcher(vocabulary(Term("ball", aliases=("--",))))
    with pytest.raises(DataError, match="'ball'.*precise"):
        TermMatcher(vocabulary(Term("ball", level="precise")))


def test_a_category_that_is_a_term_is_that_term():
    matcher = TermMatcher(vocabulary(Term("geoboard", category="boards"), Term("board", level="generic")))
    assert len(matcher) == 2
    assert matcher.entries[0].category == 1


def test_fingerprint_follows_the_table():
    same = TermMatcher(TOYS).fingerprint
    assert same == MATCHER.fingerprint
    assert TermMatcher(vocabulary(*list(TOYS.values())[:-1])).fingerprint != same


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("box", "boxes"), ("puppy", "puppies"), ("toy", "toys"), ("bus", "buses"), ("brush", "brushes"),
        ("bench", "benches"), ("bookshelf", "bookshelves"), ("pocketknife", "pocketknives"), ("child", "children"),
        ("grandchild", "grandchildren"), ("mouse", "mice"), ("policeman", "policemen"), ("human", "humans"),
        ("domino", "dominoes"), ("domino", "dominos"), ("radio", "radios"), ("quiz", "quizzes"), ("fish", "fish"),
        ("abacus", "abaci"), ("roof", "roofs"), ("scarf", "scarves"), ("scarf", "scarfs"), ("y", "ys"), ("o", "os"),
    ],
)  # fmt: skip
def test_plurals(word, plural):
    assert plural in plurals_of(word)


def test_singulars():
    assert singulars_of("puppies")[0] == "puppy"
    assert singulars_of("children") == ("child",)
    assert singulars_of("bus") == singulars_of("glass") == singulars_of("axis") == ()
    assert "shelf" in singulars_of("shelves")


WORDS = ["geo", "board", "peg", "block", "cat", "set", "a", "of", "lac", "ing"]
NAME = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)
NAMES = st.lists(NAME, unique=True, min_size=1, max_size=8)
TEXTS = st.lists(
    st.tuples(st.sampled_from(WORDS + ["boards", "pegs", "sets", "cats"]), st.booleans(),
              st.sampled_from([" ", "-", " - ", ", ", ". ", "\n", "_", "! ", "  "])),
    max_size=20,
).map(lambda parts: "".join(word + ("'s" if owns else "") + gap for word, owns, gap in parts))  # fmt: skip


def slow_find(names: list[tuple[str, ...]], text: str) -> list[tuple[int, int, int]]:
    """Every form searched on its own by a regular expression over the text; then longest first, then leftmost."""
    hits = []
    for index, name in enumerate(names):
        for form in {name, (*name[:-1], name[-1] + "s")}:
            pattern = r"(?:'s)?[\s_\-]+".join(form)
            found = re.finditer(rf"(?=(?<![a-z0-9'])({pattern})(?:'s)?(?![a-z0-9]))", text.lower())
            hits += [(-len(form), match.start(1), match.end(1), index) for match in found]
    kept: list[tuple[int, int, int]] = []
    for _, start, end, index in sorted(hits):
        if all(end <= s or start >= e for s, e, _ in kept):
            kept.append((start, end, index))
    return sorted(kept)


@given(NAMES, TEXTS, st.randoms(use_true_random=False))
def test_equals_a_slow_reference(names, text, rng):
    text = "".join(c.upper() if rng.random() < 0.3 else c for c in text)
    names = [name for name in names if name.count("of") == 0]
    matcher = TermMatcher(vocabulary(*(Term(" ".join(name)) for name in names)))
    assert [tuple(m) for m in matcher.find(text)] == slow_find(names, text)


VARIANTS = ["geo-board", "Geo Board", "ＧＥＯ　ＢＯＡＲＤ"]
VARIANTS += ["geo\u2010boards", "g\u00adeo\u200b board", "GEOBOARD", "𝐠𝐞𝐨𝐛𝐨𝐚𝐫𝐝"]


@given(st.text(), st.sampled_from(VARIANTS), st.text())
def test_offsets_are_exact_in_any_unicode(before, name, after):
    text = f"{before} | {name} | {after}"
    start = len(before) + 3
    assert (start, start + len(name)) in [(m.start, m.end) for m in MATCHER.find(text)]


@given(st.text())
def test_matches_never_overlap_and_fold_to_a_form(text):
    rng = random.Random(text)
    pieces = [rng.choice(["geoboard", "拼图", "cat", "toys", text]) for _ in range(6)]
    joined = rng.choice([" ", "-", "", "/"]).join(pieces)
    end = 0
    for match in MATCHER.find(joined):
        assert match.start >= end
        end = match.end
        assert MATCHER.lookup(joined[match.start : match.end]) == match.entry
