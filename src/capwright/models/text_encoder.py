"""Text encoders on this machine: text in, one vector for each token out (`encoders`: one for the whole text)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from capwright.models.remote_code import code_refused
from capwright.types import NotInstalledError, ScorerError

#: Bytes of embedded references that are kept.
_REMEMBERED = 256 * 2**20

Record = TypeVar("Record", bound=Any)


@dataclass(frozen=True, slots=True)
class Embedding:
    """What an encoder makes of a text of T tokens.

    Attributes:
        tokens: [T], as the encoder's vocabulary writes them.
        vectors: float32 [T, d].
        special: bool [T], tokens that the encoder adds to every text ([CLS], [SEP], </s>).
        cut: the text was longer than the encoder reads, and these are only its first tokens.
    """

    tokens: tuple[str, ...]
    vectors: NDArray[np.float32]
    special: NDArray[np.bool_]
    cut: bool = False

    @property
    def empty(self) -> bool:
        """Whether the text says nothing: there are special tokens alone."""
        return bool(self.special.all())

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes


@runtime_checkable
class Embedder(Protocol):
    """Anything that turns texts into vectors."""

    @property
    def name(self) -> str:
        """Model and weights, for signatures ("bert-base-uncased#1f3a90bc")."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """What else can change the vectors, as fields of the signature ({"layer": 9})."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Tokens of each text, special ones included, cut like `embed` cuts."""
        ...

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """One record for each text. The same text has the same vectors, up to rounding, whatever comes with it."""
        ...


class TransformersEmbedder:
    """A text encoder of the transformers library, in float32.

    Args:
        model: a folder, or an id of the Hugging Face hub. An id is looked for on this disk first; the hub is asked only
            for what is not there.
        layer: whose output is taken: 0 for the input embeddings, 1 for the first block ...; None for the last.
        max_tokens: longer texts are cut; None for what the model was made for.
        batch: texts at a time.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        revision: branch, tag or commit of a model on the hub.
        prefix_space: give the first word the space that words within a text have, where the tokenizer tells these apart
            (RoBERTa, GPT-2).
        asks: who needs the model, the first word of messages.

    Raises:
        NotInstalledError: there is no such model here, and the hub does not give it.
        ScorerError: the model cannot be used: parts of it have no weights, it wants more than text, or an option is
            out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        layer: int | None = None,
        max_tokens: int | None = None,
        batch: int = 64,
        device: str = "auto",
        revision: str | None = None,
        prefix_space: bool = False,
        asks: str = "encoder",
    ) -> None:
        self._batch = batch
        self._tokenizer, self._model = load_encoder(model, revision, asks)
        layers = int(self._model.config.num_hidden_layers)
        if layer is not None and not 0 <= layer <= layers:
            raise ScorerError(f"{asks}: layer must be from 0 to {layers} for model {model!r}, not {layer}")
        self._layer = layers if layer is None else layer
        self._prefix = " " if prefix_space and _tells_first_words(self._tokenizer) else ""
        limit = token_limit(self._tokenizer, self._model)
        if max_tokens is not None and max_tokens > limit:
            raise ScorerError(f"{asks}: model {model!r} reads {limit} tokens; max_tokens cannot be {max_tokens}")
        self._max_tokens = limit if max_tokens is None else max_tokens
        self.name = signed_name(model, self._tokenizer, self._model)
        self.settings: Mapping[str, object] = {"layer": self._layer, "max": self._max_tokens}
        try_encoder(self._model, device, lambda: self.embed(["a"]), f"{asks}: model {model!r}")

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Tokens of each text, special ones included, cut at `max_tokens`."""
        return [tuple(self._tokenizer.convert_ids_to_tokens(ids)) for ids, _, _ in self._encode(texts)]

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """One record for each text. Texts of like length share a batch; padding is masked."""
        import torch

        coded = self._encode(texts)
        found: list[Embedding | None] = [None] * len(coded)
        order = sorted(range(len(coded)), key=lambda index: len(coded[index][0]))
        for start in range(0, len(order), self._batch):
            chosen = order[start : start + self._batch]
            ids = [coded[index][0] for index in chosen]
            pad = self._tokenizer.pad_token_id or 0
            # A text may have no token at all, and a model wants one: a masked one.
            longest = max(1, max(map(len, ids)))
            padded = torch.tensor([text + [pad] * (longest - len(text)) for text in ids])
            mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in ids])
            with torch.inference_mode():
                out = self._model(
                    input_ids=padded.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                    output_hidden_states=True,
                )
            vectors = out.hidden_states[self._layer].float().cpu().numpy()
            for row, index in enumerate(chosen):
                text, special, cut = coded[index]
                tokens = tuple(self._tokenizer.convert_ids_to_tokens(text))
                # A copy, so that one short text does not keep its whole batch in memory.
                found[index] = Embedding(tokens, vectors[row, : len(text)].copy(), np.array(special, dtype=bool), cut)
        return [embedding for embedding in found if embedding is not None]

    def _encode(self, texts: Sequence[str]) -> list[tuple[list[int], list[int], bool]]:
        """(ids, which are special, whether it was cut) of each text."""
        coded = []
        for text in texts:
            text = self._prefix + text if text else ""
            whole = self._tokenizer(text, return_special_tokens_mask=True, verbose=False)
            cut = len(whole["input_ids"]) > self._max_tokens
            if cut:
                whole = self._tokenizer(
                    text, return_special_tokens_mask=True, truncation=True, max_length=self._max_tokens
                )
            coded.append((list(whole["input_ids"]), list(whole["special_tokens_mask"]), cut))
        return coded


class Memory(Generic[Record]):
    """Embeds a text once a call, and references once for all systems and epochs.

    What is remembered is dropped whole when it grows past 256 MB.

    Args:
        embed: a record for each text, which knows its `nbytes`.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Sequence[Record]]) -> None:
        self._embed = embed
        self._held: dict[str, Record] = {}
        self._bytes = 0

    def embed(self, keep: Sequence[str], pass_on: Sequence[str]) -> dict[str, Record]:
        """Every text with its embedding; those of `keep` are remembered."""
        if self._bytes > _REMEMBERED:
            self._held, self._bytes = {}, 0
        texts = dict.fromkeys([*keep, *pass_on])
        new = [text for text in texts if text not in self._held]
        made = dict(zip(new, self._embed(new))) if new else {}
        for text in dict.fromkeys(keep):
            if text in made:
                self._held[text] = made[text]
                self._bytes += made[text].nbytes
        return {text: self._held[text] if text in self._held else made[text] for text in texts}


def load_encoder(model: str, revision: str | None, asks: str) -> tuple[Any, Any]:
    """Tokenizer and encoder, from this disk if they are there, else from the hub.

    Raises:
        NotInstalledError: they are neither here nor there. ScorerError: what is there cannot be used.
    """
    problem: Exception | None = None
    for local in (True,) if Path(model).is_dir() else (True, False):
        try:
            if not local:
                _find_on_hub(model, revision)
            return _load_from(model, revision, local, asks)
        except ScorerError:
            raise
        except Exception as error:  # what is missing, broken or out of reach has many names below
            if code := code_refused(error):
                raise ScorerError(f"{asks}: model {model!r} cannot be loaded: {code}") from error
            problem = error
    if Path(model).is_dir():
        raise ScorerError(f"{asks}: model {model!r} cannot be loaded: {_line(problem)}") from problem
    raise NotInstalledError(
        f"{asks}: not installed: model {model!r} is no folder, is not on this disk, and the hub does not give it "
        f"({_line(problem)}); pass a folder with a tokenizer and an encoder"
    ) from problem


def try_encoder(model: Any, device: str, run: Callable[[], object], who: str) -> None:
    """Put a model where it is to run ("auto": a GPU where there is one) and run it once. Raises ScorerError."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model.to(device)
        run()
    except Exception as error:  # every model family fails in its own way
        raise ScorerError(f"{who} cannot encode text on {device!r}: {_line(error)}") from error


def _find_on_hub(model: str, revision: str | None) -> None:
    """Fails at once where there is no such model or no network; loading would try again and again for a minute."""
    from huggingface_hub import model_info

    model_info(model, revision=revision, timeout=10)


def _load_from(model: str, revision: str | None, local: bool, asks: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    where: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    if revision:
        where["revision"] = revision
    tokenizer = AutoTokenizer.from_pretrained(model, **where)
    encoder, loaded = AutoModel.from_pretrained(model, dtype=torch.float32, output_loading_info=True, **where)
    # A pooler is random in many encoders and is never used here; anything else that is random makes random scores.
    missing = sorted(key for key in loaded["missing_keys"] if "pooler" not in key)
    if missing:
        raise ScorerError(f"{asks}: model {model!r} has no weights for {missing[0]} and {len(missing) - 1} others")
    if encoder.config.is_encoder_decoder:
        encoder = encoder.get_encoder()
    return tokenizer, encoder.eval().requires_grad_(False)


def _tells_first_words(tokenizer: Any) -> bool:
    """Whether a word is another token after a space than at the start, and the tokenizer adds no space itself."""
    from tokenizers.pre_tokenizers import ByteLevel

    first = getattr(getattr(tokenizer, "backend_tokenizer", None), "pre_tokenizer", None)
    return isinstance(first, ByteLevel) and not first.add_prefix_space


def token_limit(tokenizer: Any, model: Any) -> int:
    """How many tokens the model reads, special ones included."""
    limits = [2**16, tokenizer.model_max_length]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and positions > 0:
        # Families like RoBERTa begin to count positions after that of padding.
        tables = (part for part in model.modules() if getattr(part, "num_embeddings", None) == positions)
        offset = next((part.padding_idx + 1 for part in tables if part.padding_idx is not None), 0)
        limits.append(positions - offset)
    return int(min(limits))


def signed_name(name: str, tokenizer: Any, model: Any) -> str:
    """Folder name or id of the hub, and 8 digits of a digest of weights and tokenizer, without the unused pooler."""
    import torch

    shown = Path(name).resolve().name if Path(name).is_dir() else name
    digest = hashlib.sha256()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    digest.update((backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if "pooler" not in name:
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return f"{shown}#{digest.hexdigest()[:8]}"


def _line(error: Exception | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
