"""The answer in what a model wrote: without what it thought aloud, and without the tokens that end its turn.

Servers should cut both away, and many do not. Each text is gone through once, however long it is: a model that never
stops thinking, or wants to do harm, costs no more than its characters.
"""

from __future__ import annotations

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
