"""Libraries that talk while they load are asked to be quiet; their errors still reach the user through ours."""

from __future__ import annotations

import os
import warnings


def quiet_libraries() -> None:
    """No loading bars and no advice from transformers; downloads from the hub keep their bars."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    enable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|torch|huggingface_hub|peft)\b")
