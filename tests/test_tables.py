"""The tables of scorers in the pages are what the scorers say of themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

import write_tables
from capwright.report.parts import name_of
from capwright.scorers.ngram.bleu import BLEU


@pytest.mark.parametrize("path", write_tables.TABLES)
def test_tables_are_up_to_date(path):
    assert write_tables.outdated(path) is None, "run python docs/write_tables.py"


@pytest.mark.parametrize("path", write_tables.TABLES)
def test_a_table_that_is_not_is_found(path, monkeypatch):
    monkeypatch.setattr(BLEU, "spec", replace(BLEU.spec, name="blue", about="something else"))
    assert "`blue`" in write_tables.outdated(path)


def test_a_page_without_a_place_for_its_table_is_an_error(monkeypatch):
    monkeypatch.setitem(write_tables.TABLES, "LICENSE", write_tables.in_short)
    with pytest.raises(SystemExit, match="LICENSE: has no"):
        write_tables.outdated("LICENSE")


def test_scores_are_written_as_their_scorers_say():
    names = ["ciderD", "bleu4", "length.words", "bertscore.f1", "chairI", "tts.micro", "caprl", "no such score"]
    shown = ["CIDEr-D", "BLEU-4", "Words", "BERTScore", "CHAIR-i", "TTS micro", "caprl", "no such score"]
    assert [name_of(name) for name in names] == shown
