"""What is a model's and not its answer's: thoughts, tokens that end a turn, turns of the chat, tags, labels.

Programs should cut them away, and many do not. Each text is gone through once, however long it is: a model that never
stops thinking, or wants to do harm, costs no more than its characters.
"""

from __future__ import annotations

import re

#: Marks around thoughts: of Qwen, DeepSeek and many others; of some that were asked to think; Magistral; Kimi.
THOUGHTS = (
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"),
)  # fmt: skip
#: gpt-oss ("harmony") speaks on channels, of which one is for the user.
_CHANNEL, _FINAL = "<|channel|>", "<|channel|>final<|message|>"
#: Tokens that end a turn, or a text.
ENDS = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<|return|>", "<end_of_turn>",
    "<|eom_id|>", "<|END_OF_TURN_TOKEN|>", "</s>",
)  # fmt: skip
_SPECIAL = re.compile(r"<\|[\w ]{1,40}\|>|</?s>|<(?:start|end)_of_\w{1,20}>|<(?:image|pad|unk|eos|bos)>|\[/?INST\]")
_TURNS = re.compile(r"\s*(?:user|human)\s*:", re.IGNORECASE)
_REPLY = re.compile(r"\b(?:assistant|gpt|model)\s*:", re.IGNORECASE)
_TAG = re.compile(r"</?(?:answer|caption|response)>", re.IGNORECASE)
_LABEL = re.compile(
    r"[\s*_#\"']{0,6}(?:image )?(?:caption|description|answer|response)[*_\"']{0,4}:[\s*_\"']{0,6}", re.IGNORECASE
)


def residue(text: str) -> str:
    """What kind of residue a caption holds, in words; "" for none that is unmistakable."""
    if _TURNS.match(text) and _REPLY.search(text):
        return "turns of a chat"
    if any(mark in text for marks in THOUGHTS for mark in marks):
        return "thoughts"
    if _SPECIAL.search(text):
        return "special tokens"
    if _TAG.search(text):
        return "tags"
    return "a label" if _LABEL.match(text) else ""


def without_residue(text: str) -> str:
    """A caption without what `residue` finds."""
    text = without_reasoning(text)
    if _TURNS.match(text):
        replies = list(_REPLY.finditer(text))
        text = text[replies[-1].end() :] if replies else text
    text = _TAG.sub(" ", _SPECIAL.sub(" ", text))
    return text[label.end() if (label := _LABEL.match(text)) else 0 :].strip()


def never_answers(text: str) -> bool:
    """Whether a text begins with a thought that does not end: what it would have answered is unknown."""
    begins = next((marks for marks in THOUGHTS if text.lstrip().startswith(marks[0])), None)
    return begins is not None and begins[1] not in text


def without_reasoning(text: str) -> str:
    """A text without thoughts, also where the mark before or after them is missing, and without spaces around it."""
    if _CHANNEL in text:
        text = text.rpartition(_FINAL)[2] if _FINAL in text else ""
    for begin, end in THOUGHTS:
        if begin in text or end in text:
            text = _outside(text, begin, end)
    stop = len(text.rstrip())
    while ending := next((each for each in ENDS if text.endswith(each, 0, stop)), ""):
        stop -= len(ending)
        while stop and text[stop - 1].isspace():
            stop -= 1
    return text[:stop].lstrip()


def _outside(text: str, begin: str, end: str) -> str:
    kept, place = [], 0
    while (start := text.find(begin, place)) >= 0 and (stop := text.find(end, start)) >= 0:
        kept.append(text[place:start])
        place = stop + len(end)
    text = "".join([*kept, text[place:]])
    return text.rpartition(end)[2].partition(begin)[0]  # of what was left open, or closed and never begun
