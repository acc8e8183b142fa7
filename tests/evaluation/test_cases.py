"""Inputs that people really have, and the right numbers of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from capwright.data.model_text import never_answers, residue, without_residue
from capwright.evaluation import score

CASES = Path(__file__).parents[1] / "data" / "cases"
#: CIDEr-D of the captions of `special-tokens-in-captions` when they are as they should be.
CLEAN = 2.1912


def ciderd(folder, name="pred.json", references="refs.json", **how):
    found = score(CASES / folder / name, CASES / folder / references, ["ciderD", "bleu"], **how)
    return found.estimate("ciderD").value, found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("answer", "tags"), ("echo", "turns of a chat"), ("eos", "special tokens"), ("eos2", "special tokens"),
        ("md", "a label"), ("think", "thoughts"),
    ],
)  # fmt: skip
def test_residue_is_found_and_stripped_where_that_is_wanted(name, kind):
    folder = "special-tokens-in-captions"
    as_it_is, found = ciderd(folder, f"{name}.json")
    assert as_it_is < CLEAN - 0.1
    (warning,) = [text for text in found.warnings if "is the model's and no caption" in text]
    assert f'3 of 3 captions hold what is the model\'s and no caption: "1", "2", "3" ({kind}: ' in warning
    stripped, found = ciderd(folder, f"{name}.json", strip=True)
    assert stripped == pytest.approx(CLEAN, abs=5e-5)
    assert "3 captions are measured without" in " ".join(found.warnings)
    plain, found = ciderd(folder, "plain.json", strip=True)
    assert plain == pytest.approx(CLEAN, abs=5e-5)
    assert not [text for text in found.warnings if "measured without" in text]


def test_a_thought_that_does_not_end_is_no_caption():
    for strip in (False, True):
        value, found = ciderd("special-tokens-in-captions", "openthink.json", strip=strip)
        assert value is None
        assert found.unknown == {"truncated": 3}


def test_captions_with_angle_brackets_of_their_own_are_left_alone():
    for text in ("a sign that says <stop>", "5 < 6 and 7 > 6", "a user: manual on a desk", "[a dog]", "captions: two"):
        assert residue(text) == ""
        assert without_residue(text) == text
        assert not never_answers(text)


def test_rejected_annotations_are_left_out_and_counted():
    folder = "vizwiz-rejected"
    with pytest.warns(UserWarning, match=r"refs\.json: \d+ annotations are marked as rejected or precanned"):
        value, _ = ciderd(folder)
    clean, found = ciderd(folder, references="refs_clean.json")
    assert value == pytest.approx(clean) == pytest.approx(2.1912, abs=5e-5)
    assert found.estimate("bleu", "bleu4").value == pytest.approx(0.4520, abs=5e-5)


def test_a_script_without_spaces_needs_another_tokenizer():
    value, found = ciderd("chinese-with-ptb")
    assert value == 0
    assert sum("--tokenizer words" in text for text in found.warnings) == 2  # captions, and references
    value, found = ciderd("chinese-with-ptb", tokenizer="words")
    assert value == pytest.approx(2.9399, abs=5e-5)
    assert found.estimate("bleu", "bleu4").value == pytest.approx(0.7242, abs=5e-5)
    assert not [text for text in found.warnings if "tokenizer" in text]


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("เด็กเล่นของเล่น", True),
        ("ひらがな", True),
        ("ក្មេងលេង", True),
        ("한국어 문장 이다", False),
        ("ein Ball", False),
        ("5 号 a", False),
    ],
)  # fmt: skip
def test_scripts(text, warned):
    rows = {f"{n}": text for n in range(3)}
    found = score(rows, {id: [text] for id in rows}, ["bleu"])
    assert any("--tokenizer words" in one for one in found.warnings) == warned
