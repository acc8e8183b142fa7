"""What a terminal would obey is shown."""

from __future__ import annotations

import pytest

from capwright.cli._display import print_table
from capwright.console import clean, say, show, shown

#: Sets the clipboard, clears the screen, turns the text around, rings, returns to the start of the line.
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202etxt.exe\x07\rdone\x9b1m\ud800"


@pytest.mark.parametrize("call", [show, say, lambda text: print_table(["name", text], [[text, "1"]], title=text)])
def test_nothing_that_is_printed_is_obeyed(call, capsys):
    call(HOSTILE)
    said = capsys.readouterr()
    text = said.out + said.err
    assert not set("\x1b\x07\r\x9b\u202e\ud800") & set(text)
    for part in (r"\x1b]52", r"\x1b[2J", r"\u202etxt.exe", r"\rdone", r"\x9b1m", r"\ud800"):
        assert part in text.replace("\n", "") or call not in (show, say)


def test_clean_leaves_what_people_write():
    for text in ("ein Würfel\n\tdas ist 骰子", "العربية مع \u200fعلامة", "👩‍👧 e\u0301", "a\u00a0b"):
        assert clean(text) == text


def test_values_are_shown_briefly():
    assert shown([1, "a"]) == "[1, 'a']"
    for value in ("x" * 10**6, ["x" * 10**6] * 10**5, {str(n): "y" * 100 for n in range(10**5)}, 10**3000):
        assert len(shown(value)) <= 200
    assert shown("x" * 100, most=20) == "'xxxxxxxxxxxxxxxx..."
