"""What writes captions, policies over Hugging Face models; and what reads text, chat servers and readers.

Names are loaded on first use: asking a server needs no torch.
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
