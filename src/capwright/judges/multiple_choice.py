"""Multiple-choice questions: the letters of their options, and which option a model's reply chooses.

The rules err towards "unparseable", which is unknown and never wrong. "A cat" is not A, "I think" is not I, the "no" of
"north" is no no, and a reply that names two letters names none.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

#: The letter of the abstaining option for up to five options; then the letter after the last one.
ABSTAIN = "F"
#: More options than this have no letters.
MOST_OPTIONS = 25

_LONE = re.compile(r"^(?:(?:option|choice|letter|答案|选项|選項)[\s:是为為]*)?([A-Za-z])$", re.IGNORECASE)
#: "Option B is correct", not "Option B is not correct".
_CALLED = re.compile(
    r"(?i:\b(?:option|choice|answer|letter))\s+\(?([A-Z])\)?\s+(?i:is\s+(?:the\s+)?(?:correct|right|best|answer))\b"
)
#: Where answers are put: LaTeX, tags, an object of one key.
_BOXED = re.compile(r"\\boxed\s?\{(?:\\(?:text|mathrm|mathbf)\s?\{)?([^{}]{1,200})\}")
_TAGGED = re.compile(r"<answer>([^<>]{1,200})</answer>", re.IGNORECASE)
_KEYED = re.compile(
    r"\A\s*(?:```(?:json)?\s*)?\{\s*\"(?:answer|choice|option|letter)\"\s*:\s*\"([^\"\\]{1,200})\"\s*\}\s*(?:```)?\s*\Z",
    re.IGNORECASE,
)
#: Longer replies are no answers; they are not looked through.
_LONGEST = 20_000
_NAMED = re.compile(
    r"(?i:\b(?:answer|(?:correct|right|best) (?:option|choice|letter)))\s*(?:(?i:is)\b|[:=])"
    r"[\s:\"'(\[]*([A-Z])\b(?!['\s]+[a-z])"
)
_MARKED = re.compile(r"([A-Z])\s?(?:\)|[.:](?![A-Za-z0-9]))")
_BRACKETED = re.compile(r"(?<![\w'])([A-Z])[)\]]")
#: A reply that speaks of an option in place of choosing it, or rules it out.
_ABOUT = re.compile(r"[A-Z][)\].:]+ (?:is|are|was|were|says?|would|could|can|can't|does|seems) ")
#: Another letter that ends a clause ("A, B", "A or B"); "A cat", "B) blue", "not A" and "A is wrong" are none.
_ALSO = re.compile(r"(?<![\w'.-])(?<!not )(?<!not \()(?<!than )(?<!than \()([A-Z])(?![\w'-]|\.\w|[)\]:]\s*\w|\s+[a-z])")
#: Words that take an answer back; after them every letter counts that is no article and no "I".
_TAKEN_BACK = re.compile(
    r"\b(?:wait|actually|sorry|correction|scratch|second thoughts?|mean|meant|make (?:that|it))\b", re.IGNORECASE
)
_AFTER = re.compile(r"(?<![\w'.-])([A-Z])(?![\w'-]|(?<=[AI])\s+(?!is\b)[a-z])")
_NEGATED = re.compile(r"\b(?:no|not|none|neither|nor|except|wrong|incorrect)\b|n't\b", re.IGNORECASE)
_WRAPPING = "*_`$\"' \t\r\n"


def letters_of(n: int) -> tuple[str, ...]:
    """The letters of `n` options and of abstaining: A, B, F for two; A to F and G for six."""
    abstain = ABSTAIN if n <= string.ascii_uppercase.index(ABSTAIN) else string.ascii_uppercase[n]
    return (*string.ascii_uppercase[:n], abstain)


def chosen(reply: str, options: Sequence[str], abstain: str) -> int | None:
    """The place of the option that a reply chooses, `len(options)` for abstaining; None when it cannot be told.

    What stands in \\boxed{...}, between <answer> and </answer>, or in {"answer": ...} is read alone. Then, in this
    order: a letter alone ("B", "(b).", "**B**"); the words of one option, with its letter or without; "Yes" or "No"
    before a comma or full stop, where that is an option; a letter that is said to be the answer ("the answer is B",
    "option B is correct"); the letter that a line starts with ("B) red"), or before a bracket at the end ("red (B)").
    Where the letters found differ, or are of no option, or another one is named afterwards ("A, no wait, B", "A or
    B"), or the reply speaks of an option ("B) is not mentioned"), it cannot be told.
    """
    if len(reply) > _LONGEST:
        return None
    reply = unicodedata.normalize("NFKC", reply)  # letters and colons of full width
    for kind in (_BOXED, _TAGGED, _KEYED):
        if held := set(kind.findall(reply)):
            return chosen(held.pop(), options, abstain) if len(held) == 1 else None
    letters = letters_of(len(options))
    if lone := _LONE.match(reply.strip(_WRAPPING + "()[].,:;!")):
        return _place([lone[1].upper()], letters)
    said = _plain(reply)
    worded = [i for i, option in enumerate((*options, abstain)) if _worded(said, letters[i], option)]
    if worded:
        return worded[0] if len(worded) == 1 else None
    clean = reply.replace("*", "").replace("_", "").replace("`", "").strip(_WRAPPING)
    opening = re.match(r"(yes|no)\s*[,.;:!\n]", clean, re.IGNORECASE)
    flagged = [i for i, option in enumerate(options) if opening and _plain(option) == opening[1].lower()]
    if flagged:
        return flagged[0] if len(flagged) == 1 else None
    named = sorted([*_NAMED.finditer(clean), *_CALLED.finditer(clean)], key=lambda match: match.start())
    if not named and _ABOUT.search(clean):
        return None
    marked = [match[1] for line in clean.splitlines() if (match := _MARKED.match(line.lstrip(" \t-#>(\"'[")))]
    bracketed = _BRACKETED.findall(clean)
    if bracketed and not marked and (_NEGATED.search(clean) or not clean.rstrip(".!").endswith((")", "]"))):
        bracketed = []
    found = [match[1] for match in named] or marked + bracketed
    if found and (named or marked):
        start = named[-1].end() if named else clean.index(found[0]) + 1
        found += [letter for letter in _others(clean[start:], options) if letter in letters]
    return _place(found, letters)


def _others(rest: str, options: Sequence[str]) -> list[str]:
    """Letters that are named as answers in what follows one; those in the words of options are none."""
    for option in options:
        if len(option) > 1:
            rest = re.sub(re.escape(option), "_", rest, flags=re.IGNORECASE)
    back = _TAKEN_BACK.search(rest)
    return _ALSO.findall(rest) + (_AFTER.findall(rest[back.end() :]) if back else [])


def _place(found: Sequence[str], letters: Sequence[str]) -> int | None:
    return letters.index(found[0]) if len(set(found)) == 1 and found[0] in letters else None


def _worded(said: str, letter: str, option: str) -> bool:
    """Whether the whole reply is the option's words, alone or after its letter."""
    words = _plain(option)
    return bool(words) and said in (words, f"{letter.lower()} {words}")


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+(?:'\w+)?", unicodedata.normalize("NFKC", text).casefold()))
