"""The records that every room speaks."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from capwright.types import STATUSES, Status


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_its_text_in_every_way(status):
    text = status.value
    assert status == text
    assert {status: 1}[text] == 1
    assert f"{status}|{status!r}|{status:>20}|%s" % status == f"{text}|{text!r}|{text:>20}|{text}"
    assert json.dumps({status: [status]}) == json.dumps({text: [text]})
    assert pickle.loads(pickle.dumps(status)) is copy.deepcopy(status) is Status(text) is status


def test_an_unknown_status_is_none():
    assert "lost" not in STATUSES
    with pytest.raises(ValueError, match="lost"):
        Status("lost")
