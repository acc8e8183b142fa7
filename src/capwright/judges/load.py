"""Whom to ask about text and images, by name: the reader of the built-in kindergarten, a server, or a local model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any
from weakref import WeakValueDictionary

from capwright.judges.client.options import chat_address
from capwright.types import ModelError

#: name -> "module:class", imported on first use.
_BUILT_IN = {
    "lexical": "capwright.scenes.lexical_judge:LexicalJudge",
    "facts": "capwright.scenes.question_writer:FactsWriter",
}
#: Options of `LLMJudge`; all others are of `Chat`.
_OWN = ("prompts", "temperature", "thinking_tokens", "max_tokens", "letters", "claims_per_call")
#: Judges in use, so that scorers that name the same one share its connections, limits and budget.
_held: WeakValueDictionary[str, Any] = WeakValueDictionary()


def load_judge(name: str | Mapping[str, Any], **options: Any) -> Any:
    """The judge of this name; it implements every protocol of `protocols` that it can.

    The same name with the same options gives the same object as long as it is in use.

    Args:
        name: "lexical", the reader of the built-in kindergarten, which has no options; "http://host:port/v1", an
            OpenAI-compatible server, which needs `model` where it has several; "openai", the server at OPENAI_BASE_URL
            (by default that of OpenAI), with the key in OPENAI_API_KEY; "local:FOLDER", a transformers model in this
            process; or a mapping with "name" and options.
        options: those of `capwright.judges.client.Chat` (model, concurrency, patience, cache, budget, ...) and of
            `LLMJudge` (prompts, temperature, thinking_tokens, max_tokens, letters, claims_per_call). `dry_run`, a
            `capwright.judges.client.cost_estimate.CostEstimate`, counts what would be asked and asks no judge.

    Raises:
        ModelError: there is no judge of that name, or it has no such option, or an option cannot be used.

    >>> load_judge("lexical").signature.split(":")[0]
    'lexical'
    """
    if isinstance(name, Mapping):
        given = {**name, **options}
        if "name" not in given:
            raise ModelError('a judge given as a mapping needs the key "name", such as {"name": "lexical"}')
        return load_judge(given.pop("name"), **given)
    if name in _BUILT_IN:
        if options:
            raise ModelError(f"the {name} judge has no options, but {', '.join(sorted(options))} is given")
        return resolve_name(_BUILT_IN[name])()
    if address := chat_address(name):
        return _llm_judge(address, options)
    raise ModelError(
        f'there is no judge {name!r}; name "lexical", the address of a server ("http://localhost:8000/v1"), "openai" '
        '(OPENAI_BASE_URL), or a local model ("local:FOLDER")'
    )


def _llm_judge(address: str, options: dict[str, Any]) -> Any:
    from capwright.judges.client.chat import Chat
    from capwright.judges.client.cost_estimate import CostEstimate, EstimatingChat
    from capwright.judges.client.options import ChatOptions, no_option
    from capwright.judges.llm_judge import LLMJudge

    costs = options.get("dry_run")
    if costs is not None and not isinstance(costs, CostEstimate):
        raise ModelError(f"{address}: dry_run must be a CostEstimate, which only a program can make, not {costs!r}")
    known = ["model", *ChatOptions.model_fields, *_OWN]
    if unknown := sorted(options.keys() - {*known, "dry_run"}):
        raise ModelError(f"{address}: {no_option(unknown, known)}")
    key = json.dumps([address, options], sort_keys=True, default=repr)
    held = _held.get(key)
    if held is None:
        own = {option: value for option, value in options.items() if option in _OWN}
        of_chat = {option: value for option, value in options.items() if option not in (*_OWN, "dry_run")}
        chat = Chat(address, **of_chat) if costs is None else EstimatingChat(costs, address, **of_chat)
        held = _held[key] = LLMJudge(chat, chat.name, **own)
    return held
