from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.text.normalize import Folded, tokens

REALISTIC = st.lists(
    st.one_of(
        st.sampled_from("abcXYZ 019'-_,.&"),
        st.sampled_from(
            "éÉäßÅ\u00e5ﬁ½㎏№Ⅳ“”‘’—–\u00ad\u200b\ufeff\u2028\u3000ａＢ１－＿ｶﾞｷﾟ拼图板ガ한글\u1112\u1161\u11abеЁ"
        ),
        st.sampled_from(["e\u0301", "A\u030a", "か\u3099", "\U0001f600", "❤\ufe0f", "नि", "ที่"]),
    )
).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Geo-Board, please!", ["a", "geo", "board", ",", "please", "!"]),
        ("geo\u2011board geo_board geo\u00adboard", ["geo", "board", "geo", "board", "geoboard"]),
        ("The child’s ‘geoboard’", ["the", "child", "geoboard"]),
        ("children's boards' it's", ["children", "boards", "it"]),
        ("rock'n'roll o’clock", ["rock'n'roll", "o'clock"]),
        ("ＧＥＯ　ｂｏａｒｄ", ["geo", "board"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("Café Cafe\u0301", ["café", "café"]),
        ("拼图 board", ["拼", "图", "board"]),
        ("ｶﾞｶﾞ", ["ガ", "ガ"]),
        ("a\u200bb❤\ufe0fc", ["ab", "❤", "c"]),
        ("नि शब्द", ["नि", "शब्द"]),
        ("", []),
        (" \u2028\r\n\t-_'", []),
    ],
)
def test_tokens(text, expected):
    assert list(tokens(text)) == expected


@given(REALISTIC)
def test_folding_is_that_of_the_whole_text(text):
    """Folding piece by piece (which keeps offsets) gives the words that folding all at once gives."""
    whole = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert tokens(whole) == tokens(text)


@given(st.one_of(REALISTIC, st.text()))
def test_spans_are_ordered_inside_the_text_and_hold_their_token(text):
    folded = Folded(text)
    end_before = 0
    for i, token in enumerate(folded.tokens):
        start, end = folded.span(i, i + 1)
        assert 0 <= start < end <= len(text)
        assert start >= end_before or unicodedata.normalize("NFKC", text[start:end_before]) != text[start:end_before]
        end_before = end
        if unicodedata.is_normalized("NFKC", text[start:end]):
            assert tokens(text[start:end]) == (token,) or "'" in token


@given(st.one_of(REALISTIC, st.text()))
def test_folding_is_idempotent_on_words(text):
    words = [token for token in tokens(text) if token.isalnum()]
    assert list(tokens(" ".join(words))) == words


def test_a_span_covers_a_ligature_whole_and_leaves_the_possessive_out():
    text = "two ﬁgures’ ﬁgure’s"
    folded = Folded(text)
    assert folded.tokens == ["two", "figures", "figure"]
    assert [text[slice(*folded.span(i, i + 1))] for i in range(3)] == ["two", "ﬁgures", "ﬁgure"]
