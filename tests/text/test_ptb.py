"""The tokenizer against recorded answers of the Java original, and against itself."""

from __future__ import annotations

import difflib
import gzip
import itertools
import json
import re
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capwright.text import ptb, ptb_tables
from capwright.text.ptb import tokenize
from places import CAPTIONS

#: What caption metrics leave out of the output of the original.
BRACKETS = {"-LRB-", "-RRB-", "-LCB-", "-RCB-"}
PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"} | BRACKETS


def read_rows(name):
    with gzip.open(CAPTIONS / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_json(name):
    with gzip.open(CAPTIONS / name, "rt", encoding="utf-8") as file:
        return json.load(file)


def expected_tokens(row):
    return [token for token in row["ptb"].split(" ") if token and token not in PUNCTUATION]


def count_different(expected, found):
    """Tokens to replace, add or remove to come from one list to the other."""
    if expected == found:
        return 0
    matcher = difflib.SequenceMatcher(None, expected, found, autojunk=False)
    changes = (code for code in matcher.get_opcodes() if code[0] != "equal")
    return sum(max(i2 - i1, j2 - j1) for _, i1, i2, j1, j2 in changes)


def compare(rows):
    """(texts that differ, share of tokens that differ) of oracle rows."""
    pairs = [(row["text"], expected_tokens(row), tokenize(row["text"])) for row in rows]
    differ = [text for text, expected, found in pairs if expected != found]
    tokens = sum(len(expected) for _, expected, _ in pairs)
    return differ, sum(count_different(expected, found) for _, expected, found in pairs) / tokens


def captions_of(name):
    """(caption, Java tokens) of all references and candidates of a set."""
    references = "fakecap1000" if name == "fakecap1000" else "val2017"
    texts = {}
    for annotation in read_json(f"{references}_references.json.gz")["annotations"]:
        texts.setdefault(str(annotation["image_id"]), []).append((annotation["id"], annotation["caption"]))
    results = {str(row["image_id"]): row["caption"] for row in read_json(f"{name}_results.json.gz")}
    tokens = read_json(f"{name}_tokens.json.gz")
    for image, expected in tokens["gts"].items():
        yield from zip([caption for _, caption in texts[image]], expected)
        yield results[image], tokens["res"][image][0]


@pytest.mark.parametrize("name", ["fakecap1000", "val2017_nn"])
def test_coco_captions_are_cut_as_java_cuts_them(name):
    pairs = list(captions_of(name))
    assert len(pairs) > 6000
    wrong = [text for text, expected in pairs if " ".join(tokenize(text)) != expected]
    assert len(wrong) / len(pairs) <= 0.0003, wrong[:20]


def test_hard_coco_captions_are_cut_as_java_cuts_them():
    differ, share = compare(read_rows("ptb_oracle.jsonl.gz"))
    assert share <= 0.0001
    assert len(differ) <= 1, differ


def test_long_human_captions_are_within_half_a_thousandth():
    differ, share = compare(read_rows("ptb_oracle_long.jsonl.gz"))
    assert share <= 0.0005
    assert len(differ) <= 3, differ


def test_markdown_and_other_habits_of_models_are_within_half_a_thousandth():
    rows = read_rows("ptb_oracle_vlm.jsonl.gz")
    assert len(rows) > 300
    differ, share = compare(rows)
    assert share <= 0.0005, differ


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What stays though it looks like punctuation, and what goes.
        ("A (b) [c] {d}.", "a -lrb- b -rrb- -lsb- c -rsb- -lcb- d -rcb-"),
        ("wait... what?! “no” -- 'yes'; ok: fine", "wait what ?! no yes ok fine"),
        ("**bold** __x__ ### a # b", "** bold ** __ x __ ### a # b"),
        # Contractions and apostrophes.
        ("Isn't it JOHN'S? They’ve cannot gonna", "is n't it john 's they 've can not gon na"),
        ("o'clock y'all dogs' 'tis '80s 70's rock'n'roll", "o'clock y' all dogs 't is '80s 70 's rock 'n' roll"),
        ("cannot-do don’t've", "cannot-do do n't 've"),
        # Dots.
        ("the U.S. and Mr. Smith, etc.", "the u.s. and mr. smith etc."),
        ("no. 5, no. five", "no. 5 no five"),
        ("bikes., cars.", "bikes. cars"),
        ("the letter K. The letter K. a", "the letter k the letter k. a"),
        ("Wash. wash. bus.The", "wash. wash bus.the"),
        # Numbers and marks.
        ("5:30pm $5.00 50% #1 -5 1,000", "5:30 pm $ 5.00 50 % # 1 -5 1,000"),
        ("½ cup, 1½ cups, 5€, £3, 50¢", "1/2 cup 1 1/2 cups 5 $ # 3 50 cents"),
        ("5'10\" 10-year-old 24/7 3x4 8.5x11", "5 10 10-year-old 24/7 3x4 8.5 x11"),
        ("AT&amp;T m&m R&B #tag @user a@b.com www.x.com/ab.", "at&t m & m r&b #tag @user a@b.com www.x.com/ab"),
        # Beyond ASCII.
        ("Café 出口 naïve 😀 x", "café 出口 naïve x"),
        ("soft\xadhyphen 5°C x² №5", "softhyphen 5 ° c x ² № 5"),
        # Nothing.
        ("", ""),
        (" . ... ' \u2028 😀", ""),
    ],
)
def test_by_hand(text, expected):
    assert " ".join(tokenize(text)) == expected


def test_spaces_inside_a_token_are_no_break_spaces():
    assert tokenize("1 1/2 cups") == ["1\xa01/2", "cups"]
    assert tokenize('<a href="x y">b</a>') == ['<a\xa0href="x\xa0y">', "b", "</a>"]
    assert tokenize("(555) 123-4567") == ["-lrb-555-rrb-\xa0123-4567"]


TRICKY = st.lists(
    st.sampled_from(
        [*"aB1 .,'’“”-_/&@#:;()<>*!?$%+=\\~^½é出😀\u2028\r\x0b\x85\xa0\xad\u200d", "n't", "'s", "no.", "http://", "<a "]
    )
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(st.characters()), st.text(st.characters(categories=["Cs", "Co", "Cn", "Cc", "Cf"])), TRICKY))
@example("\ud800 a\udfff")
@example("<" * 50)
@example("\xad!\xad")
def test_any_text_has_clean_tokens(text):
    found = tokenize(text)
    assert found == tokenize(text)
    for token in found:
        assert token
        assert not re.search(r"\s", token.replace("\xa0", "_"))
        assert token not in PUNCTUATION


@settings(max_examples=200, deadline=None)
@given(TRICKY, st.sampled_from(["\u2028", "\r\n", "\x0b", "\x0c", "\x85", "\t", "  ", "\xa0"]))
def test_all_white_space_is_a_space(text, space):
    assert tokenize(text.replace(" ", space)) == tokenize(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "Dog's", "U.S.", "well-lit,", "isn't", "(left)", "5:30pm", "“x”", "**y**:"])))
def test_pieces_between_spaces_are_cut_on_their_own(pieces):
    assert tokenize(" ".join(pieces)) == [token for piece in pieces for token in tokenize(piece)]


@given(
    st.sampled_from(["table", "Mr", "cannot", "wash", "Wash", "LLC", "Ltd", "US", "u", "no", "fig", "Kan", "mfg", "é"]),
    st.sampled_from(["", ".", ",", "..", ".,", ",.", ";"]),
)
def test_the_short_way_of_plain_words_is_the_long_way(word, mark):
    assert ptb.cut_piece(word + mark) == ptb._lex(word + mark)


@pytest.mark.parametrize(
    "unit", ["a,", "a-", "<!--", "<a b='", "a@", "1 1/2 ", "1.", "a.", "http://", "no. 5 ", "'", "é½"]
)
def test_long_nonsense_takes_no_longer_than_long_text(unit):
    start = time.perf_counter()
    tokenize(unit * (20_000 // len(unit)))
    assert time.perf_counter() - start < 5


def test_importing_loads_no_heavy_module():
    code = "import sys, capwright.text.ptb as p; p.tokenize('½ a.m.'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "capwright.text.ptb_tables" in loaded
    assert not {"torch", "transformers", "sacrebleu", "unicodedata2"} & set(loaded)


def test_tables_are_sorted_and_apart():
    for table in (ptb_tables.LETTERS, ptb_tables.SYMBOLS):
        bounds = ptb._bounds(table)
        assert bounds == sorted(set(bounds))
        assert bounds[0] >= 0x80
        assert bounds[-1] <= 0x10000
    letters, symbols = ptb._bounds(ptb_tables.LETTERS), ptb._bounds(ptb_tables.SYMBOLS)
    spans = sorted([*zip(letters[::2], letters[1::2]), *zip(symbols[::2], symbols[1::2])])
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
