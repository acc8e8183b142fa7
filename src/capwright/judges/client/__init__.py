"""Asking language models and vision-language models: any OpenAI-compatible server, or a local model.

>>> from capwright.judges.client import Chat, ChatRequest, Message
>>> chat = Chat("http://localhost:8000/v1", model="Qwen/Qwen2.5-7B-Instruct")     # doctest: +SKIP
>>> chat.ask([ChatRequest((Message("user", "Say yes."),), max_tokens=5)])[0].text  # doctest: +SKIP
'Yes.'
"""

from capwright.judges.client.cache import AnswerCache
from capwright.judges.client.chat import Chat
from capwright.judges.client.messages import BudgetError, ChatAnswer, ChatDownError, ChatError, ChatRequest, Message
from capwright.judges.client.options import ChatOptions
from capwright.judges.client.usage import Cost, Prices, Usage

__all__ = [
    "Usage",
    "AnswerCache",
    "BudgetError",
    "Chat",
    "ChatAnswer",
    "ChatDownError",
    "ChatError",
    "ChatOptions",
    "ChatRequest",
    "Cost",
    "Message",
    "Prices",
]
