"""Tokenizers: one cut a text, codes that say the same as tokens, and no character that breaks a caption in two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.text import ptb
from capwright.text import tokenizers as tokens
from capwright.text.normalize import tokens as folded
from capwright.text.tokenizers import Tokenizer, collapse, get_tokenizer
from capwright.types import ScorerError

SEPARATORS = "\r\n\v\f\x1c\x1d\x1e\x85\xa0\u2028\u2029\u3000\t "


@pytest.fixture
def counting():
    """A tokenizer at white space that notes which texts it had to cut."""
    cut: list[str] = []

    def split(texts):
        cut.extend(texts)
        return [text.split() for text in texts]

    return Tokenizer("counting", split), cut


def test_white_space_collapses():
    assert collapse("a cat\r\n on\u2028a\x0bmat\x85") == "a cat on a mat"
    assert collapse(SEPARATORS) == "" == collapse("")


@given(st.lists(st.text(alphabet=st.sampled_from("ab." + SEPARATORS)), max_size=6))
def test_every_text_has_its_own_tokens(texts):
    for name in ("split", "words"):
        tokenizer = get_tokenizer(name)
        assert tokenizer(texts) == [tokenizer([text])[0] for text in texts]


@given(st.lists(st.text(), max_size=8))
def test_codes_are_the_tokens(texts):
    tokenizer = get_tokenizer("words")
    coded = tokenizer.codes(texts)
    flat = [word for row in tokenizer(texts) for word in row]
    assert [coded.words[code] for code in coded.codes] == flat
    assert coded.lengths.tolist() == [len(row) for row in tokenizer(texts)]
    assert coded.lengths.sum() == len(coded.codes)


def test_words_are_folded_words():
    child, blocks = get_tokenizer("words")(["The child’s\nGeo-Board", "積木"])
    assert child == list(folded("The child’s Geo-Board")) == ["the", "child", "geo", "board"]
    assert blocks == ["積", "木"]


def test_split_keeps_mixed_numbers_whole():
    assert get_tokenizer("split")(["a 1\xa01/2 inch\u2028board", "\xa0 \xa0", "  "]) == [
        ["a", "1\xa01/2", "inch", "board"],
        [],
        [],
    ]


def test_a_text_is_cut_once(counting):
    tokenizer, cut = counting
    assert tokenizer(["a b", "a", "a b"]) == [["a", "b"], ["a"], ["a", "b"]]
    tokenizer.codes(["a", "c", "a b"])
    assert cut == ["a b", "a", "c"]


def test_what_is_given_out_is_nobody_elses(counting):
    tokenizer, _ = counting
    tokenizer(["a b"])[0].append("more")
    assert tokenizer(["a b"]) == [["a", "b"]]


def test_the_memory_is_bounded(counting, monkeypatch):
    monkeypatch.setattr(tokens, "_MEMORY_LIMIT", 3)  # characters
    tokenizer, cut = counting
    before = tokenizer.codes(["a", "b", "c", "d"])  # the fourth is not kept
    assert [before.words[code] for code in before.codes] == ["a", "b", "c", "d"]
    assert len(tokenizer._memory) == 3
    after = tokenizer.codes(["d", "e"])  # full: all is forgotten
    assert [after.words[code] for code in after.codes] == ["d", "e"]
    assert [before.words[code] for code in before.codes] == ["a", "b", "c", "d"]  # what was given out still reads
    assert list(tokenizer._memory) == ["d", "e"]
    assert cut == ["a", "b", "c", "d", "d", "e"]


def test_a_tokenizer_is_made_once():
    assert get_tokenizer("split") is get_tokenizer("split")
    assert get_tokenizer("split").name == "split"


def test_pieces_are_cut_once_and_whole_texts_as_a_whole():
    pieces, texts = [], []

    def cut_piece(piece):
        pieces.append(piece)
        return piece.split("-")

    def cut(given):
        texts.extend(given)
        return [["whole"] for _ in given]

    tokenizer = Tokenizer("pieces", cut, cut_piece, lambda text: "a whole" not in text)
    wanted = [["a", "b", "c"], ["c", "a", "b"], ["whole"], []]
    assert tokenizer(["a-b c", "c\u2028a-b", "a\nwhole", " "]) == wanted
    assert pieces == ["a-b", "c"]
    assert texts == ["a\nwhole"]
    tokenizer._forget()
    assert tokenizer(["c a-b"]) == [["c", "a", "b"]]
    assert pieces == ["a-b", "c", "c", "a-b"]


def test_ptb_is_the_function_on_collapsed_text():
    texts = [
        "A cat\r",
        "on\u2028it",
        "no.\n5 a 1\r1/2",
        "AT&T &amp; J.\n",
        "plan\nB.",
        "Mr. Cannot, cannot.",
        "<a\nb>",
        "(",
    ]
    assert get_tokenizer("ptb")(texts) == [ptb.tokenize(collapse(text)) for text in texts]
    assert get_tokenizer("ptb").name == ptb.VERSION


@given(st.text(alphabet=st.sampled_from("aAb15.,-'&;<>()/ \r\u2028\xa0é"), max_size=12))
def test_ptb_is_the_function_on_any_text(text):
    assert get_tokenizer("ptb")([text]) == [ptb.tokenize(collapse(text))]


def test_unknown_tokenizers_are_named():
    with pytest.raises(ScorerError, match="no tokenizer 'ptbb'; did you mean 'ptb'"):
        get_tokenizer("ptbb")
