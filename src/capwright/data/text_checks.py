"""What can be wrong with the text of a caption, seen from its characters alone."""

from __future__ import annotations

import re

#: A caption of more characters than this is probably a document that got into the wrong field.
LONGEST = 4000

_LINE_BREAKS = {"\r": "carriage return", "\v": "vertical tab", "\f": "form feed", "\u2028": "line separator"}
_LINE_BREAKS |= {"\u2029": "paragraph separator", "\x85": "next line"}
# Invisible, but with no part in any writing system; the joiners U+200C and U+200D have one and are left alone.
_INVISIBLE = {"\u200b": "zero-width space", "\u2060": "word joiner", "\ufeff": "byte order mark", "\xad": "soft hyphen"}
_TURNS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ODD = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd{''.join([*_LINE_BREAKS, *_INVISIBLE, *_TURNS])}]")


def troubles(text: str) -> list[tuple[str, str]]:
    """(severity, message) of each kind of trouble: empty, control characters, invisible characters, far too long.

    Line feed and tab are allowed. Every other control character and separator is an error, because programs disagree on
    whether a line ends there; invisible characters are warnings.
    """
    if not text.strip():
        return [("error", "is empty; write it or remove it")]
    found: dict[str, tuple[str, str]] = {}
    for odd in _ODD.finditer(text):
        character = odd[0]
        code, severity, what, advice = f"U+{ord(character):04X}", "warning", "", "remove it"
        if character in _LINE_BREAKS:
            severity, what, advice = "error", f"a {_LINE_BREAKS[character]} ({code})", "use a space"
        elif character in _TURNS:
            what = f"the invisible direction mark {code}"
        elif character in _INVISIBLE:
            what = f"an invisible {_INVISIBLE[character]} ({code})"
        elif character == "\ufffd":
            what, advice = f"the replacement mark {code}", "it was decoded wrongly"
        else:
            severity, what = "error", f"the control character {code}"
        found.setdefault(code, (severity, f"holds {what} at character {odd.start() + 1}; {advice}"))
    if len(text) > LONGEST:
        found["long"] = ("warning", f"has {len(text):,} characters, more than {LONGEST:,}; is it a caption?")
    return list(found.values())
