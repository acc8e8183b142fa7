"""A served vision model that sees the kindergarten, writes questions and answers them."""

from __future__ import annotations

import base64
import html
import json
import re

from capwright.judges.prompt_files import load_prompts
from capwright.scenes.question_writer import FactsWriter
from capwright.types import Question
from exact_judges import KNOWN, Guesser

PLANTED = [
    {"question": text, "options": [answer, "two", "four", "six"], "answer": answer, "kind": "other"}
    for text, answer in KNOWN.items()
]
BROKEN = [{"question": "Which?", "options": ["red", "blue", "green", "all of the above"], "answer": "red", "kind": "x"}]


def facts_of(sample):
    """Four questions about a sample, in the layout that the prompt asks for."""
    (record,) = FactsWriter().write("questions", [{"id": sample.id, "facts": sample.meta["facts"], "n": 4}])
    return [{"question": entry.pop("text"), **entry} for entry in record["questions"]]


class Sees:
    """A vision model, made of what is known of each image; it knows what anybody knows, too."""

    def __init__(self, world) -> None:
        self._known = {sample.image.read_bytes(): sample for sample in world}
        self._prompts = {prompt.system: name for name, prompt in load_prompts().items()}
        self.asked: list[str] = []

    def __call__(self, body):
        system, user = (_parts(message["content"]) for message in body["messages"])
        text = "\n".join(part["text"] for part in user if part["type"] == "text")
        urls = [part["image_url"]["url"] for part in user if part["type"] == "image_url"]
        samples = [self._known[base64.b64decode(url.partition(",")[2])] for url in urls]
        task = self._prompts[system[0]["text"]]
        self.asked.append(task)
        if task == "write_questions":
            return json.dumps({"questions": [*facts_of(samples[0]), *PLANTED, *BROKEN]})
        slots = dict(re.findall(r"<(\w+)>\n(.*?)\n</\1>", html.unescape(text), re.DOTALL))
        *options, _ = (line.partition(") ")[2] for line in slots["options"].splitlines())
        told = samples[0].references[0] if samples else ""
        (answer,) = Guesser().answer([(told, Question(slots["question"], tuple(options)))])
        return "F" if answer.option is None else "ABCDE"[answer.option]


def _parts(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
