"""The benchmark of changed captions: each part gives the rows that pages show, and they say what the pages say."""

from __future__ import annotations

import pytest

import fooled as bench


def rows(part: str, count: int = 20) -> dict[str, dict]:
    return {row["captions"]: row for row in bench.PARTS[part](count)}


def test_changes_cost_what_scores_can_see():
    found = rows("references")
    assert found["said twice"]["cider"] > 0.9 * found["none"]["cider"]
    assert found["said twice"]["ciderD"] < 0.5 * found["none"]["ciderD"]
    assert found["words in reverse order"]["bleu1"] == pytest.approx(found["none"]["bleu1"], abs=0.01)
    assert found["words in reverse order"]["bleu4"] < 0.01
    assert found["none"]["bleu4_mean"] < found["none"]["bleu4"]


def test_a_table_of_few_images_gives_another_score():
    found = rows("tables")
    assert found["df of all images"]["ciderD"] != found["df of the same 100 images"]["ciderD"]
    assert found["cut by ptb"]["bleu4"] > found["cut by split"]["bleu4"]


def test_saying_the_right_thing_often_thins_hallucination():
    found = rows("chair")
    assert found["A man and a cat."]["chairI"] == 1 / 2
    assert found["A man, a man, a man, a man and a cat."]["chairI"] == 1 / 5
    assert found["judged by 1"]["chairI"] >= found["judged by 4"]["chairI"]
    assert found["one after the other"]["mentions"] == found["each"]["mentions"]


def test_noise_is_diverse():
    assert rows("distinct")["ten random words"]["distinct2"] > rows("distinct")["people"]["distinct2"]
    found = rows("diversity", 10)
    assert found["five times ten random words"]["selfCider"] > found["five by people"]["selfCider"]
    assert found["four copies and another one"]["distinctShare"] == pytest.approx(0.4)
    assert found["five by people"]["correlation"] > 0.9


def test_texts_that_are_measured_alone():
    found = rows("repetition")
    assert (found[bench.BALLS]["run"], found[bench.MIXED]["rep4"]) == (7, 0)
    found = rows("readability")
    ordered, mixed = (found[text] for text in bench.SENTENCES[1:3])
    assert {**ordered, "captions": ""} == {**mixed, "captions": ""}


def test_parts_that_lack_something_are_left_out_with_a_message(capsys):
    assert bench.measure("embedding", 5, None) == []
    assert "--encoder" in capsys.readouterr().out


def test_who_wrote_a_caption_says_as_much_as_its_length():
    found = rows("agreement", 100)
    assert found["the longer one"]["value"] > 0.9
    assert found["the person's"]["value"] > 0.9
    assert found["how much longer, comprehensive"]["value"] > 0.2 > found["how much longer, invents less"]["value"]
