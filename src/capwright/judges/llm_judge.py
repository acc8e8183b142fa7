"""A chat model behind the ports: questions become requests, and what it replies becomes answers.

One call holds one caption, or one pair of captions to compare, so nothing that a caption says can change the result of
another. Calls of one port call are sent together. A reply that cannot be read is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from capwright.judges.client.messages import ChatAnswer, ChatRequest, Message
from capwright.judges.multiple_choice import MOST_OPTIONS, chosen, letters_of
from capwright.judges.prompt_files import Prompt, load_prompts, one_line
from capwright.judges.protocols import VERDICTS, Answer, Evidence, Grade, Preference, Split, StatusWithReason, Verdict
from capwright.types import ModelError, Question, Status

#: What the marks of the prompt `grade` become: 1 is 0.0 and 5 is 1.0.
LOWEST, HIGHEST = 1, 5
#: How letters can be had, see `LLMJudge`.
LETTERS = ("text", "likeliest", "schema")
#: Version of how replies are read; part of the digest in the signature.
READING = 2
CLAIMS_PER_CALL = 40


class Asks(Protocol):
    """What is needed of a chat: `capwright.judges.client.Chat`, or anything with its `ask`."""

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]: ...


class LLMJudge:
    """Implements `protocols.Reader`, `Claims`, `Writer` and `Judge` over a chat model.

    Args:
        chat: who is asked.
        model: its name, for the signature.
        prompts: a folder whose prompt files replace the built-in ones of the same name; "" for none.
        temperature: for every task, or by the name of a prompt ({"split": 1.0}); what the prompts say (0) where it is
            None or not named. At 0 a server gives the same answer to every seed, so repeated trials only cost money.
        thinking_tokens: added to the limit of every answer, for models that reason before they answer.
        max_tokens: the limit of an answer, for every task, or by the name of a prompt ({"split": 4096}); what the
            prompts say where it is None or not named.
        letters: how an answer to a multiple-choice question is had. "text": read from what the model writes.
            "likeliest": where that chooses no option, the letter that was likeliest as its first word, if letters were
            likely there at all. "schema": the server is told to write one of the letters and nothing else, which weak
            models need.
        claims_per_call: longer lists of claims of one caption are held against the evidence in several calls.

    Raises ModelError for options that make no sense, and passes on the errors of `chat.ask`: a server that is down.
    """

    def __init__(
        self,
        chat: Asks,
        model: str = "",
        *,
        prompts: str | Path = "",
        temperature: float | Mapping[str, float] | None = None,
        thinking_tokens: int = 0,
        max_tokens: int | Mapping[str, int] | None = None,
        letters: str = "text",
        claims_per_call: int = CLAIMS_PER_CALL,
    ) -> None:
        self.chat = chat
        self._model = model
        self._prompts = load_prompts(str(prompts))
        _check_whole("thinking_tokens", thinking_tokens, 0)
        _check_whole("claims_per_call", claims_per_call, 1)
        if letters not in LETTERS:
            raise ModelError(f"letters: must be {', '.join(LETTERS)}, not {letters!r}")
        self._temperatures = _by_prompt("temperature", temperature, self._prompts, 0, 2)
        self._limits = _by_prompt("max_tokens", max_tokens, self._prompts, 1, 2**20)
        self._letters = letters
        self._thinking = thinking_tokens
        self._claims_per_call = claims_per_call

    @property
    def signature(self) -> str:
        """Who is asked, a digest of all prompts and of how replies are read, and what differs from the defaults:
        "chat:MODEL;prompts=5f0c9a1e".
        """
        asked = "\n".join([*self.prompts.values(), f"reading {READING}"])
        parts = [f"chat:{self._model}", f"prompts={blake2b(asked.encode(), digest_size=4).hexdigest()}"]
        parts += [f"T.{name}={value:g}" for name, value in sorted(self._temperatures.items())]
        parts += [f"max.{name}={value:g}" for name, value in sorted(self._limits.items())]
        parts += [f"thinking={self._thinking}"] if self._thinking else []
        parts += [f"letters={self._letters}"] if self._letters != "text" else []
        parts += [f"claims={self._claims_per_call}"] if self._claims_per_call != CLAIMS_PER_CALL else []
        return ";".join(parts)

    @property
    def prompts(self) -> dict[str, str]:
        """Name of each prompt -> its name, version and digest."""
        return {name: self._prompts[name].protocol for name in sorted(self._prompts)}

    def answer(self, asked: Sequence[tuple[Evidence | None, Question]], *, seed: int = 0) -> list[Answer]:
        """One answer for each (evidence, question).

        A text without words, or None, is no evidence: what is asked then is what can be guessed from the question
        alone. A scorer must not ask that of an empty caption, or silence would be worth a guess.

        The options are lettered A, B, ... in their order, with the abstaining option last, lettered F (or the letter
        after the last option, where there are more than five). A question with fewer than 2 or more than 25 options is
        "judge_error". `probabilities` are those of the letters, where the server tells; `text` is the whole reply.
        """
        can_be = [2 <= len(question.options) <= MOST_OPTIONS for _, question in asked]
        replies = self._ask([self._question(*one, seed) if ok else None for one, ok in zip(asked, can_be)])
        return [
            _answer(reply, question, self._prompts[_answering(evidence)].abstain)
            if reply
            else Answer(None, status=Status.JUDGE_ERROR, text="a question needs 2 to 25 options")
            for reply, (evidence, question) in zip(replies, asked)
        ]

    def split(self, texts: Sequence[str], *, seed: int = 0) -> list[Split]:
        """The claims of each text, each once; a text without words has none, and no judge is asked."""
        requests = [self._request("split", {"caption": text}, seed) if text.strip() else None for text in texts]
        return [_split(reply) if reply else Split(()) for reply in self._ask(requests)]

    def verify(self, asked: Sequence[tuple[Sequence[str], Evidence]], *, seed: int = 0) -> list[list[Verdict]]:
        """A verdict for each claim. `descriptive` is None: `split` judges that. An empty text is neutral to all."""
        step = self._claims_per_call
        parts = [
            (claims[start : start + step], evidence)
            for claims, evidence in asked
            if not _says_nothing(evidence)
            for start in range(0, len(claims), step)
        ]
        replies = self._ask([self._claims(part, evidence, seed) for part, evidence in parts])
        verdicts = iter([one for (part, _), reply in zip(parts, replies) for one in _verdicts(reply, len(part))])
        return [
            [Verdict("neutral") if _says_nothing(evidence) else next(verdicts) for _ in claims]
            for claims, evidence in asked
        ]

    def match(self, asked: Sequence[tuple[Sequence[str], Sequence[str]]], *, seed: int = 0) -> list[list[int | None]]:
        """Which fact each claim is about. A number in a reply that cannot be used makes the list unknown: []."""
        requests = [
            self._request("match", {"claims": claims, "facts": facts}, seed) if claims and facts else None
            for claims, facts in asked
        ]
        return [
            _matches(reply, len(claims), len(facts)) if reply else [None] * len(claims)
            for reply, (claims, facts) in zip(self._ask(requests), asked)
        ]

    def compare(self, asked: Sequence[tuple[Evidence | None, str, str, str]], *, seed: int = 0) -> list[Preference]:
        """Which caption is better, shown in the given order; asking in both orders is up to the caller.

        Evidence that is a text stands before the reference, as a part of it.
        """
        requests = []
        for evidence, first, second, reference in asked:
            told = "\n".join(part for part in (evidence if isinstance(evidence, str) else "", reference) if part)
            given = {"reference": told, "first": first, "second": second}
            requests.append(self._request("compare", given, seed, _images(evidence)))
        return [
            Preference(reply.data["better"], reason=reply.data["reason"])
            if reply.status == Status.OK
            else Preference(None, _status(reply), reply.reason)
            for reply in self._ask(requests)
        ]

    def grade(self, axes: Sequence[str], texts: Sequence[str], *, seed: int = 0) -> list[Grade]:
        """Marks of each text, 0 to 1 in steps of a quarter. A text without words is "empty", and no judge is asked."""
        prompt = _grading(self._prompts["grade"], axes)
        requests = [self._put(prompt, {"caption": text}, seed) if text.strip() else None for text in texts]
        return [_grade(reply, axes) if reply else Grade({}, Status.EMPTY, "no words") for reply in self._ask(requests)]

    def write(self, task: str, given: Sequence[Mapping[str, Any]], *, seed: int = 0) -> list[Mapping[str, Any]]:
        """One record for each `given`: "status", and what the schema of the prompt `write_TASK` names.

        Built-in tasks, with what must be given -> what comes back:
        "questions" (image, n -> questions), "corruption" (caption, what -> text, before, after), "differences" (image,
        first, second -> differences), "terms" (caption -> terms), "answer" (caption, question -> answer, told),
        "mark" (question, right, answer -> correct, score).

        Raises ModelError for an unknown task, or when something is missing in `given`.
        """
        prompt = self._prompts.get(f"write_{task}")
        if prompt is None:
            known = ", ".join(name.removeprefix("write_") for name in self._prompts if name.startswith("write_"))
            raise ModelError(f"there is no prompt for the task {task!r} (tasks: {known})")
        replies = self._ask([self._put(prompt, one, seed, _named_images(prompt, one)) for one in given])
        return [
            {**(reply.data if prompt.schema else {"text": reply.text}), "status": Status.OK}
            if reply.status == Status.OK
            else {"status": _status(reply), "reason": reply.reason}
            for reply in replies
        ]

    # Requests ---------------------------------------------------------------------------------------------------------

    def _question(self, evidence: Evidence | None, question: Question, seed: int) -> ChatRequest:
        letters = letters_of(len(question.options))
        prompt = self._prompts[_answering(evidence)]
        shown = [*question.options, prompt.abstain]
        given = {
            "caption": evidence if isinstance(evidence, str) else "",
            "question": one_line(question.text),
            "options": "\n".join(f"{letter}) {one_line(option)}" for letter, option in zip(letters, shown)),
        }
        schema = {"type": "string", "enum": list(letters)} if self._letters == "schema" else prompt.schema
        request = self._put(prompt, given, seed, _images(evidence))
        return replace(request, choices=letters, schema=schema, guess=self._letters == "likeliest")

    def _claims(self, claims: Sequence[str], evidence: Evidence, seed: int) -> ChatRequest:
        if isinstance(evidence, Path):
            return self._request("verify_image", {"claims": claims}, seed, (evidence,))
        return self._request("verify_text", {"claims": claims, "evidence": evidence}, seed)

    def _request(self, name: str, given: Mapping[str, Any], seed: int, images: tuple[Path, ...] = ()) -> ChatRequest:
        return self._put(self._prompts[name], given, seed, images)

    def _put(self, prompt: Prompt, given: Mapping[str, Any], seed: int, images: tuple[Path, ...] = ()) -> ChatRequest:
        return ChatRequest(
            messages=(Message("system", prompt.system), Message("user", prompt.fill(given), images)),
            max_tokens=int(self._limits.get(prompt.name, prompt.max_tokens)) + self._thinking,
            temperature=self._temperatures.get(prompt.name, prompt.temperature),
            seed=seed % 2**31,
            schema=prompt.schema,
            protocol=prompt.protocol,
        )

    def _ask(self, requests: Sequence[ChatRequest | None]) -> list[Any]:
        """The `ChatAnswer` to each request, in order; None where there is none."""
        asked = [request for request in requests if request is not None]
        replies = iter(self.chat.ask(asked) if asked else ())
        return [None if request is None else next(replies) for request in requests]


# Readings -------------------------------------------------------------------------------------------------------------


def _status(reply: ChatAnswer, unread: str = "") -> StatusWithReason:
    """Of a reply that is of no use, with the reason, or `unread`; of one that came, also how it begins."""
    status, reason = (Status.UNPARSEABLE, unread) if unread else (reply.status, reply.reason)
    begins = f": {one_line(reply.text)[:80]}" if status == Status.UNPARSEABLE and (unread or reply.text) else ""
    return StatusWithReason(status, f"{reason}{begins}")


def _answer(reply: ChatAnswer, question: Question, abstain: str) -> Answer:
    if reply.status != Status.OK:
        return Answer(None, status=_status(reply), text=reply.text or reply.reason)
    place = chosen(reply.text, question.options, abstain)
    if place is None and reply.guessed and reply.probabilities:
        place = max(range(len(reply.probabilities)), key=reply.probabilities.__getitem__)
    if place is None:
        return Answer(None, status=_status(reply, "the answer chooses no option"), text=reply.text)
    if place == len(question.options):
        return Answer(None, True, probabilities=reply.probabilities, text=reply.text)
    return Answer(place, probabilities=reply.probabilities, text=reply.text)


def _split(reply: ChatAnswer) -> Split:
    if reply.status != Status.OK:
        return Split((), status=_status(reply))
    found: dict[str, bool] = {}
    for record in reply.data["claims"]:
        if claim := one_line(record["claim"]):
            found.setdefault(claim, record["descriptive"])
    return Split(tuple(found), tuple(found.values()))


def _verdicts(reply: ChatAnswer, n: int) -> list[Verdict]:
    """One verdict a claim; a claim that has none, or two that differ, is unparseable."""
    if reply.status != Status.OK:
        return [Verdict(None, status=_status(reply))] * n
    told = _by_number(reply.data["verdicts"], "number", lambda one: (one["verdict"], one["pointable"]))
    if 0 in told:  # counted from 0: every verdict would be that of its neighbor
        return [Verdict(None, status=_status(reply, "claims are numbered from 0"))] * n
    known = {i: said for i, said in told.items() if said is not None and said[0] in VERDICTS}
    lost = _status(reply, "a claim has no verdict, or two that differ")
    return [Verdict(*known[i]) if i in known else Verdict(None, status=lost) for i in range(1, n + 1)]


def _matches(reply: ChatAnswer, claims: int, facts: int) -> list[int | None]:
    if reply.status != Status.OK:
        return []
    told = _by_number(reply.data["matches"], "claim", lambda one: one["fact"])
    places = [told.get(i) for i in range(1, claims + 1)]
    if any(place is None or not 0 <= place <= facts for place in places):
        return []
    return [int(place) - 1 if place else None for place in places]


def _by_number(
    records: Sequence[Mapping[str, Any]], key: str, read: Callable[[Mapping[str, Any]], Any]
) -> dict[int, Any]:
    """number -> what was said under it; None where two records of one number differ."""
    told: dict[int, Any] = {}
    for record in records:
        number, said = int(record[key]), read(record)
        told[number] = said if told.get(number, said) == said else None
    return told


def _grade(reply: ChatAnswer, axes: Sequence[str]) -> Grade:
    if reply.status != Status.OK:
        return Grade({}, _status(reply), reply.reason)
    marks = {axis: (reply.data["marks"][axis] - LOWEST) / (HIGHEST - LOWEST) for axis in axes}
    return Grade(marks, reason=reply.data["reason"])


# Prompts --------------------------------------------------------------------------------------------------------------


def _answering(evidence: Evidence | None) -> str:
    if isinstance(evidence, Path):
        return "answer_image"
    return "answer_text" if evidence and evidence.strip() else "answer_blind"


def _says_nothing(evidence: Evidence | None) -> bool:
    return isinstance(evidence, str) and not evidence.strip()


def _images(evidence: Evidence | None) -> tuple[Path, ...]:
    return (evidence,) if isinstance(evidence, Path) else ()


def _named_images(prompt: Prompt, given: Mapping[str, Any]) -> tuple[Path, ...]:
    missing = [name for name in prompt.images if name not in given]
    if missing:
        raise ModelError(f"the prompt {prompt.name} also needs the image {', '.join(missing)}")
    return tuple(Path(given[name]) for name in prompt.images)


def _grading(prompt: Prompt, axes: Sequence[str]) -> Prompt:
    """The prompt `grade` for some axes: their meanings in the system message, their names in the schema."""
    unknown = [axis for axis in axes if axis not in prompt.axes]
    if unknown or not axes:
        raise ModelError(f"cannot grade {', '.join(unknown) or 'nothing'}; axes: {', '.join(prompt.axes)}")
    lines = "\n".join(f'- "{axis}": {one_line(prompt.axes[axis])}' for axis in axes)
    mark = {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
    schema = dict(prompt.schema or {})
    marks = {**schema["properties"]["marks"], "required": list(axes), "properties": dict.fromkeys(axes, mark)}
    schema["properties"] = {**schema["properties"], "marks": marks}
    return replace(prompt, system=prompt.system.replace("{axes}", lines), schema=schema)


def _by_prompt(
    option: str, given: float | Mapping[str, float] | None, prompts: Mapping[str, Prompt], low: float, high: float
) -> dict[str, float]:
    """An option by the name of each prompt that it is given for."""
    if given is None:
        return {}
    values = dict(given) if isinstance(given, Mapping) else dict.fromkeys(prompts, given)
    if unknown := sorted(set(values) - set(prompts)):
        raise ModelError(f"{option}: there is no prompt {', '.join(unknown)} (prompts: {', '.join(prompts)})")
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (high == 2 and isinstance(value, float))) or not low <= value <= high:
            kind = f"a number from {low:g} to {high:g}" if high == 2 else f"a whole number, {low:g} or more"
            raise ModelError(f"{option}: must be {kind}, not {value!r} ({name})")
    return {name: float(value) for name, value in values.items()}


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ModelError(f"{name}: must be a whole number, {least} or more, not {value!r}")
