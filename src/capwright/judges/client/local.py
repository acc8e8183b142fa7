"""A transformers model in this process, text or vision-language, asked like a server, one call at a time."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from capwright.console import first_line
from capwright.data.images import load_image
from capwright.judges.client.messages import (
    CANDIDATES,
    KEPT_TOKENS,
    ChatAnswer,
    ChatError,
    ChatRequest,
    Message,
    TokenCandidates,
)
from capwright.judges.client.options import ChatOptions
from capwright.judges.client.server import Done
from capwright.judges.client.usage import Usage
from capwright.models.processor import load_processor
from capwright.models.remote_code import code_refused
from capwright.types import ImageError, Status

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LocalModel:
    """A model of a folder or of the hub, loaded on the first question.

    Args:
        name: folder, or id of the hub.
        options: of these device ("cpu", "cuda", ...; None takes a GPU where there is one), dtype ("float32", "bfloat16"
            or "float16"), call_seconds and max_pixels count.
        account: where tokens are counted.

    Answers at temperature above 0 are drawn by the seed and the text of the request, so they do not depend on what
    else is asked. Chat templates that know no system message get it before the first message of the user.
    """

    def __init__(self, name: str, options: ChatOptions, account: Usage) -> None:
        if options.dtype not in _DTYPES:
            raise ChatError(f"local:{name}: dtype {options.dtype!r} is none of {', '.join(_DTYPES)}")
        version = f"@{_state(Path(name))}" if Path(name).is_dir() else ""
        self.name = f"{name}{version}/{options.dtype}"
        self._source = name
        self._options = options
        self._account = account
        self._device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model: Any = None
        self._reader: Any = None  # processor, or tokenizer of a model that reads text only
        self._sees = False

    async def run(self, requests: Sequence[ChatRequest], done: Done, seconds: float | None) -> None:
        """Ask all, one after the other; `done(place, answer)` as they come."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        for place, request in enumerate(requests):
            left = until - time.monotonic()
            if left <= 0:
                done(place, ChatAnswer(Status.TIMEOUT, reason=f"the step was over after {seconds:g} s"))
                continue
            await asyncio.wrap_future(done(place, await asyncio.to_thread(self._answer, request, left)))

    async def close(self) -> None:
        """Lets the weights go."""
        self._model = self._reader = None

    def _answer(self, request: ChatRequest, left: float) -> ChatAnswer:
        self._load()
        reserved = self._account.reserve(request)
        started = time.monotonic()
        limit = min(self._options.call_seconds, left)
        try:
            answer, in_time = self._generate(self._inputs(request), request, limit)
        except ImageError as error:
            self._account.lose(reserved, billed=False)
            return ChatAnswer(Status.MISSING_IMAGE, reason=str(error))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:  # a prompt that this model cannot take
            self._account.lose(reserved, billed=False)
            return ChatAnswer(Status.JUDGE_ERROR, reason=first_line(error)[:300])
        seconds = time.monotonic() - started
        self._account.settle(reserved, request, answer.tokens_in, answer.tokens_out, seconds)
        if not in_time:
            return ChatAnswer(Status.TIMEOUT, reason=f"no answer within {limit:.3g} s")
        return replace(answer, seconds=seconds)

    def _load(self) -> None:
        if self._model is not None:
            return
        try:
            trust = {"trust_remote_code": self._options.trust_remote_code}
            config = AutoConfig.from_pretrained(self._source, **trust)
            self._sees = getattr(config, "vision_config", None) is not None
            kind = AutoModelForImageTextToText if self._sees else AutoModelForCausalLM
            self._reader = (
                load_processor(self._source, config.model_type, self._options.trust_remote_code)
                if self._sees
                else AutoTokenizer.from_pretrained(self._source, **trust)
            )
            dtype = _DTYPES[self._options.dtype]
            self._model = kind.from_pretrained(self._source, dtype=dtype, **trust).to(self._device).eval()
        except Exception as error:  # every library below has errors of its own for a broken file
            why = code_refused(error, "set the option trust_remote_code of the judge") or first_line(error)
            raise ChatError(f"local:{self._source}: cannot be loaded: {why}") from error

    def _inputs(self, request: ChatRequest) -> Any:
        messages = list(request.with_schema_in_words)
        images = [load_image(path, self._options.max_pixels) for m in messages for path in m.images]
        if images and not self._sees:
            raise ValueError("this model reads text only and was shown an image")
        prompt = self._prompt(messages)
        settings: dict[str, Any] = {"return_tensors": "pt", "add_special_tokens": not self._has_template}
        if self._sees:
            settings["images"] = images or None
        return self._reader(text=[prompt], **settings).to(self._device)

    @property
    def _has_template(self) -> bool:
        return getattr(self._reader, "chat_template", None) is not None

    def _prompt(self, messages: list[Message]) -> str:
        """The conversation as the model was taught to read it; plain lines where it was taught nothing."""
        goes_on = messages[-1].role == "assistant"
        if not self._has_template:
            return "\n".join(f"{m.role}: {m.text}" for m in messages) + ("" if goes_on else "\nassistant:")
        settings = {"tokenize": False, "add_generation_prompt": not goes_on, "continue_final_message": goes_on}
        try:
            return str(self._reader.apply_chat_template([_turn(m, self._sees) for m in messages], **settings))
        except Exception as error:  # a template raises what it likes; what many do not know is a system message
            if messages[0].role != "system" or len(messages) < 2:
                raise ValueError(f"its chat template cannot write these messages: {error}") from error
            first = Message(messages[1].role, f"{messages[0].text}\n\n{messages[1].text}", messages[1].images)
            return self._prompt([first, *messages[2:]])

    def _generate(self, inputs: Any, request: ChatRequest, seconds: float) -> tuple[ChatAnswer, bool]:
        """What the model says, and whether it came to an end in time."""
        start = inputs["input_ids"].shape[1]
        drawn = request.temperature > 0
        settings: dict[str, Any] = {"do_sample": drawn, "top_k": None, "top_p": None, "temperature": None}
        if drawn:
            settings |= {"temperature": request.temperature, "top_k": 0, "top_p": 1.0}
        began = time.monotonic()
        cuda = [torch.device(self._device)] if self._device.startswith("cuda") else []
        with torch.inference_mode(), torch.random.fork_rng(devices=cuda):
            torch.manual_seed(_seed(request))
            out = self._model.generate(
                **inputs, max_new_tokens=request.max_tokens, max_time=seconds, output_logits=bool(request.choices),
                return_dict_in_generate=True, **settings,
            )  # fmt: skip
        ids = out.sequences[0, start:].tolist()
        ends = self._model.generation_config.eos_token_id
        stopped = bool(ids) and ids[-1] in (ends if isinstance(ends, list) else [ends])
        in_time = stopped or len(ids) >= request.max_tokens or time.monotonic() - began < seconds
        text = self._decode(ids)
        tokens = self._tokens(ids, out.logits) if request.choices else ()
        finish = "stop" if stopped else "length"
        return ChatAnswer(text=text, finish=finish, tokens=tokens, tokens_in=start, tokens_out=len(ids)), in_time

    def _tokens(self, ids: list[int], logits: Sequence[torch.Tensor]) -> tuple[TokenCandidates, ...]:
        found = []
        for token, scores in zip(ids[:KEPT_TOKENS], logits):
            top = torch.log_softmax(scores[0].float(), -1).topk(min(CANDIDATES, scores.shape[-1]))
            words = [(self._decode([int(i)]), float(p)) for p, i in zip(top.values, top.indices)]
            found.append((self._decode([token]), tuple(words)))
        return tuple(found)

    def _decode(self, ids: list[int]) -> str:
        return str(getattr(self._reader, "tokenizer", self._reader).decode(ids, skip_special_tokens=True))


def _turn(message: Message, sees: bool) -> dict[str, Any]:
    if not sees:
        return {"role": message.role, "content": message.text}
    shown = [{"type": "image"} for _ in message.images]
    return {"role": message.role, "content": [*shown, {"type": "text", "text": message.text}]}


def _seed(request: ChatRequest) -> int:
    """By what is asked, never by when."""
    said = repr((request.seed, [(m.role, m.text, len(m.images)) for m in request.messages]))
    return int.from_bytes(hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=7).digest(), "big")


def _state(folder: Path) -> str:
    """What stands for the files of a model in cache keys: it changes when a file does."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]
