"""Asking language models and vision-language models: any OpenAI-compatible server, or a local model.

>>> from capwright.judges.client import Chat, ChatRequest, Message
>>> chat = Chat("http://localhost:8000/v1", model="Qwen/Qwen2.5-7B-Instruct")     # doctest: +SKIP
>>> chat.ask([ChatRequest((Message("user", "Say yes."),), max_tokens=5)])[0].text  # doctest: +SKIP
'Yes.'
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
