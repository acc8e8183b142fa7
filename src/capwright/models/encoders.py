"""Texts and images as unit vectors: a protocol, encoders behind it, and vectors that are kept on disk.

What compares texts with texts, images with images or either with the other asks an encoder and knows no model. Nothing
here imports torch before an encoder is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from capwright.data.files import file_digest
from capwright.data.row_store import Store, digest
from capwright.models.text_encoder import Embedder, load_encoder, signed_name, token_limit, try_encoder
from capwright.types import ScorerError

#: Vectors that are kept on disk at most, the newest; one of 512 numbers takes 4 KB.
KEPT = 250_000

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text or an image, encoded.

    Attributes:
        vector: float64 [d] of length 1, or zeros where that would have no direction.
        cut: the text was longer than the encoder reads, and this is its beginning.
        empty: the text says nothing.
    """

    vector: NDArray[np.float64]
    cut: bool = False
    empty: bool = False

    @property
    def nbytes(self) -> int:
        return self.vector.nbytes


class Encoder(Protocol):
    """Turns texts, images or both into unit vectors of one space."""

    @property
    def name(self) -> str:
        """The model, a digest of its weights, and whatever else changes its vectors."""
        ...

    def texts(self, texts: Sequence[str]) -> list[Encoding]:
        """An encoding for each text; the same text has the same, up to rounding, whatever comes with it."""
        ...

    def images(self, images: Sequence[Path]) -> list[Encoding]:
        """An encoding for each image file. Raises ImageError for one that cannot be read."""
        ...


class PooledEncoder:
    """A text encoder's token vectors as one of the whole text.

    Args:
        pool: "mean" over all tokens, or "cls", the first.
    """

    def __init__(self, embedder: Embedder, pool: str = "mean") -> None:
        settings = "".join(f"|{key}:{value}" for key, value in embedder.settings.items())
        self.name = f"{embedder.name}{settings}|pool:{pool}"
        self._embedder, self._pool = embedder, pool

    def texts(self, texts: Sequence[str]) -> list[Encoding]:
        """See `Encoder`; pooled in float64."""
        return [Encoding(self._pooled(found.vectors), found.cut, found.empty) for found in self._embedder.embed(texts)]

    def images(self, images: Sequence[Path]) -> list[Encoding]:
        raise ScorerError(f"{self.name}: is an encoder of texts; images need one of both, such as CLIP")

    def _pooled(self, vectors: NDArray[Any]) -> NDArray[np.float64]:
        return unit(vectors[0] if self._pool == "cls" else vectors.mean(0, dtype=np.float64))


class ClipEncoder:
    """A model of transformers that has `get_text_features` and `get_image_features`: CLIP (arXiv 2103.00020), SigLIP.

    Args:
        model: a folder, or an id of the Hugging Face hub; looked for on this disk first.
        batch: texts or images at a time.
        device: "auto" (a GPU where there is one), "cpu", "cuda", ...
        asks: who needs the model, the first word of messages.
    Raises:
        NotInstalledError: there is no such model here, and the hub does not give it.
        ScorerError: the model cannot be used.
    """

    def __init__(self, model: str, *, batch: int = 32, device: str = "auto", asks: str = "encoder") -> None:
        from transformers import AutoImageProcessor

        self._batch = batch
        self._tokenizer, self._model = load_encoder(model, None, asks)
        if not hasattr(self._model, "get_image_features"):
            raise ScorerError(f"{asks}: model {model!r} does not encode images; it takes one such as CLIP")
        self._processor = AutoImageProcessor.from_pretrained(model, backend="pil", trust_remote_code=False)
        text = self._model.config.text_config
        self._max_tokens = min(token_limit(self._tokenizer, self._model), text.max_position_embeddings)
        settings = hashlib.sha256(self._processor.to_json_string().encode()).hexdigest()
        self.name = f"{signed_name(model, self._tokenizer, self._model)}|images:{settings[:8]}|max:{self._max_tokens}"
        try_encoder(self._model, device, lambda: self.texts(["a"]), f"{asks}: model {model!r}")

    def texts(self, texts: Sequence[str]) -> list[Encoding]:
        """See `Encoder`. All are padded to the same length, as SigLIP was trained."""

        def read(some: Sequence[str]) -> Any:
            padding = {"padding": "max_length", "truncation": True, "max_length": self._max_tokens}
            return self._model.get_text_features(**self._ready(self._tokenizer(some, return_tensors="pt", **padding)))

        lengths = [len(ids) for ids in self._tokenizer(list(texts), verbose=False).input_ids] if texts else []
        return [
            Encoding(vector, length > self._max_tokens, not text.strip())
            for text, length, vector in zip(texts, lengths, self._vectors(list(texts), read))
        ]

    def images(self, images: Sequence[Path]) -> list[Encoding]:
        """See `Encoder`."""
        from capwright.data import load_image

        def read(some: Sequence[Path]) -> Any:
            pixels = self._processor(images=[load_image(path) for path in some], return_tensors="pt")
            return self._model.get_image_features(**self._ready(pixels))

        return [Encoding(vector) for vector in self._vectors(list(images), read)]

    def _ready(self, inputs: Any) -> Any:
        return inputs.to(self._model.device)

    def _vectors(self, items: Sequence[_Item], read: Callable[[Sequence[_Item]], Any]) -> list[NDArray[np.float64]]:
        import torch

        vectors: list[NDArray[np.float64]] = []
        for start in range(0, len(items), self._batch):
            with torch.inference_mode():
                out = read(items[start : start + self._batch])
            vectors += list(unit(getattr(out, "pooler_output", out).float().cpu().numpy()))
        return vectors


class CachedEncoder:
    """An encoder that encodes nothing twice: vectors are kept on disk, by its name and the content of text or image.

    The file (SQLite) may be used by several processes at once and survives their end at any moment; trouble with it is
    warned about and costs time, never a result. A vector comes back bit for bit.

    Args:
        folder: where the file is (`data.cache_dir.cache_folder()`); None keeps nothing.
    """

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._store = Store("vectors", None, folder, limit=KEPT)

    def texts(self, texts: Sequence[str]) -> list[Encoding]:
        """See `Encoder`."""
        return self._encode("text", texts, [digest(text) for text in texts], self._encoder.texts)

    def images(self, images: Sequence[Path]) -> list[Encoding]:
        """See `Encoder`; files of the same bytes are one image."""
        return self._encode("image", images, [_content(path) for path in images], self._encoder.images)

    def _encode(
        self,
        kind: str,
        items: Sequence[_Item],
        contents: list[bytes],
        encode: Callable[[Sequence[_Item]], list[Encoding]],
    ) -> list[Encoding]:
        keys = [digest(self.name, kind) + content for content in contents]
        found = {
            key: Encoding(row[:-2], bool(row[-2]), bool(row[-1]))
            for key, row in self._store.get(list(dict.fromkeys(keys))).items()
        }
        missing = {key: item for key, item in zip(keys, items) if key not in found}
        made = dict(zip(missing, encode(list(missing.values())))) if missing else {}
        self._store.put({key: np.array([*new.vector, new.cut, new.empty]) for key, new in made.items()})
        found |= made
        return [found[key] for key in keys]


def _content(path: Path) -> bytes:
    from capwright.data.images import image_size

    image_size(path)  # raises ImageError for what is no image, or no file
    return bytes.fromhex(file_digest(path))[:16]


def unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Rows scaled to length 1, in float64; a row of zeros stays."""
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
