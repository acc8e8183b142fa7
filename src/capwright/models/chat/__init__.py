"""Asking language models and vision-language models: any OpenAI-compatible server, or a local model.

>>> from capwright.models.chat import Chat, ChatRequest, Message
>>> chat = Chat("http://localhost:8000/v1", model="Qwen/Qwen2.5-7B-Instruct")     # doctest: +SKIP
>>> chat.ask([ChatRequest((Message("user", "Say yes."),), max_tokens=5)])[0].text  # doctest: +SKIP
'Yes.'
"""

from capwright.models.chat.account import Account, Estimate, Prices
from capwright.models.chat.cache import AnswerCache
from capwright.models.chat.client import Chat
from capwright.models.chat.messages import BudgetError, ChatAnswer, ChatDownError, ChatError, ChatRequest, Message

__all__ = [
    "Account",
    "AnswerCache",
    "BudgetError",
    "Chat",
    "ChatAnswer",
    "ChatDownError",
    "ChatError",
    "ChatRequest",
    "Estimate",
    "Message",
    "Prices",
]
