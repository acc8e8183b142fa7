"""Metrics on the vectors of a text encoder: BERTScore, and the cosine of whole captions.

The encoder is the user's choice (`encoder.TransformersEmbedder`, or anything with the same two methods).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import (
    SCORED,
    Context,
    Corpus,
    Item,
    Scorer,
    ScorerSpec,
    Stats,
    item_status,
    references_of,
)
from capwright.scorers.embedding._text_encoder import Embedder, Embedding, Memory, TransformersEmbedder
from capwright.scorers.ngram._ngrams import count_references
from capwright.text.digest import fingerprint
from capwright.text.tokenizers import collapse
from capwright.types import ScorerError, Status

#: Samples whose texts are embedded together: enough to fill batches of like length, few enough to fit in memory.
_AT_ONCE = 64

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class EmbeddingContext(Context):
    """A loaded encoder and what references say about the weight of tokens.

    Attributes:
        embedder: the encoder.
        memory: embeds with it, and remembers references.
        references: how many references samples have, "5" or "5..7".
        idf: weight of each token that references have; None when all tokens weigh 1.
        documents: how many references `idf` was counted on.
    """

    embedder: Embedder
    memory: Memory
    references: str
    idf: Mapping[str, float] | None = None
    documents: int = 0

    def weigh(self, text: Embedding) -> Vector:
        """Weights [T] of the tokens of a text; special tokens weigh nothing."""
        if self.idf is None:
            return (~text.special).astype(np.float64)
        unseen = math.log(self.documents + 1)
        weights = np.array([self.idf.get(token, unseen) for token in text.tokens])
        return np.where(text.special, 0.0, weights)


class _EmbeddingScorer(Scorer[EmbeddingContext]):
    """What both scorers share: options, a context with an encoder, one row for each caption."""

    context_type = EmbeddingContext

    name = ""
    outputs: tuple[str, ...] = ()

    def __init__(
        self,
        ranges: Mapping[str, tuple[float, float]],
        model: str | None,
        embedder: Embedder | None,
        prefix_space: bool,
        **options: Any,
    ) -> None:
        if (model is None) == (embedder is None):
            raise ScorerError(
                f"{self.name}: needs a text encoder, and none comes with capwright: give the option model, a folder "
                f"with an encoder and its tokenizer or an id of the Hugging Face hub (--set {self.name}.model=FOLDER)"
            )
        if embedder is not None and not callable(getattr(embedder, "embed", None)):
            raise ScorerError(
                f"{self.name}: embedder must be an object as encoder.Embedder describes, not {embedder!r}"
            )
        for option, least in (("layer", 0), ("max_tokens", 8), ("batch", 1)):
            value = options[option]
            if value is None and option != "batch":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ScorerError(f"{self.name}: {option} must be a whole number >= {least}, not {value!r}")
        self._model, self._embedder = model, embedder
        self._options = {"prefix_space": prefix_space, **options}
        self.spec = ScorerSpec(
            name=self.name,
            version="1",
            outputs=(*self.outputs, "truncated"),
            ranges={**ranges, "truncated": (0.0, 1.0)},
            needs=frozenset({"references", "model"}),
            unit="item|ctx",
            cost="model",
        )

    def prepare(self, corpus: Corpus) -> EmbeddingContext:
        """Load the encoder.

        Raises DataError when no sample has references, NotInstalledError when there is no such model, and ScorerError
        when it cannot encode text.
        """
        references = count_references(corpus, self.name)
        if self._embedder is None:
            self._embedder = TransformersEmbedder(str(self._model), asks=self.name, **self._options)
        idf, documents = self._weigh_tokens(corpus, self._embedder)
        return EmbeddingContext(
            scorer=self.name,
            fingerprint=fingerprint([self._embedder.name, dict(self._embedder.settings), idf, documents]),
            outputs=self.spec.outputs,
            embedder=self._embedder,
            memory=Memory(self._embedder),
            references=references,
            idf=idf,
            documents=documents,
        )

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """Rows of the outputs, then 1. Evidence: {"truncated": texts that the encoder did not read to their end}."""
        rows = np.zeros((len(items), len(self.outputs) + 2))
        status = [item_status(item) for item in items]
        evidence: list[dict[str, Any] | None] = [None] * len(items)
        own = self.own(context)
        for index, caption, references, truncated in self._texts(items, status, own):
            if _says_nothing(caption):
                status[index] = Status.EMPTY
            else:
                rows[index, : len(self.outputs)] = self._compare(caption, references, own)
            rows[index, -2:] = bool(truncated), 1
            evidence[index] = {"truncated": truncated} if truncated else None
        return Stats(rows, np.arange(len(items)), tuple(status), tuple(evidence))

    def _texts(
        self, items: Sequence[Item], status: Sequence[str], context: EmbeddingContext
    ) -> Iterator[tuple[int, Embedding, list[Embedding], list[str]]]:
        """(item, caption, references that say something, which texts were cut) of items that can be compared."""
        wanted = [i for i, state in enumerate(status) if state in SCORED and items[i].sample.references]
        for start in range(0, len(wanted), _AT_ONCE):
            chosen = wanted[start : start + _AT_ONCE]
            captions = {i: collapse(items[i].caption) for i in chosen}
            references = {i: [collapse(text) for text in items[i].sample.references] for i in chosen}
            found = context.memory.embed(
                keep=[text for i in chosen for text in references[i]], pass_on=list(captions.values())
            )
            for i in chosen:
                meant = [(number, found[text]) for number, text in enumerate(references[i], 1) if text]
                meant = [(number, text) for number, text in meant if not _says_nothing(text)]
                if meant:
                    cut = ["caption"] if found[captions[i]].cut else []
                    cut += [f"reference {number}" for number, text in meant if text.cut]
                    yield i, found[captions[i]], [text for _, text in meant], cut

    def _weigh_tokens(self, corpus: Corpus, embedder: Embedder) -> tuple[dict[str, float] | None, int]:
        """Weight of each token and how many references say so; None where tokens have no weights."""
        return None, 0

    @abstractmethod
    def _compare(self, caption: Embedding, references: list[Embedding], context: EmbeddingContext) -> tuple[float, ...]:
        """Values of `outputs` for a caption that says something, beside at least one reference that does."""


class BERTScore(_EmbeddingScorer):
    """The scorer `bertscore` (arXiv 1904.09675): every token looks for its likeliest partner in the other text.

    Outputs, means over captions:
        f1: harmonic mean of the two below. The headline.
        precision: mean over the tokens of the caption of the cosine with the most similar token of the reference.
        recall: the same the other way round.
        truncated: share of captions of which, or of whose references, the encoder did not read the end.
    Of several references the best value counts, for each of the three on its own, as in the authors' program. An empty
    caption scores 0; a sample without references is unknown.

    Args:
        model: a folder with a text encoder and its tokenizer, or an id of the Hugging Face hub. Required: nothing is
            downloaded unasked.
        layer: whose output is compared, 0 for the input embeddings; None for the last. The authors tuned it for each
            model; see docs/methods/embedding-metrics.md.
        weights: "equal", or "idf": rare tokens count more, by how many references of the corpus have them.
        baseline: similarity of unrelated texts, mapped to 0; one number, or one each for precision, recall and f1.
        max_tokens, batch, device, revision: see `encoder.TransformersEmbedder`.
        embedder: an encoder of your own, instead of `model`.
    """

    name = "bertscore"
    outputs = ("f1", "precision", "recall")

    def __init__(
        self,
        *,
        model: str | None = None,
        layer: int | None = None,
        weights: str = "equal",
        baseline: float | Sequence[float] = 0.0,
        max_tokens: int | None = None,
        batch: int = 64,
        device: str = "auto",
        revision: str | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        if weights not in ("equal", "idf"):
            raise ScorerError(f'bertscore: weights must be "equal" or "idf", not {weights!r}')
        self._weights = weights
        precision, recall, f1 = _read_baseline(baseline)
        self._baseline = np.array([f1, precision, recall])
        lowest = {"f1": 0.0, "precision": -1.0, "recall": -1.0}
        super().__init__(
            {name: ((lowest[name] - b) / (1 - b), 1.0) for name, b in zip(self.outputs, self._baseline.tolist())},
            model,
            embedder,
            prefix_space=True,
            layer=layer,
            max_tokens=max_tokens,
            batch=batch,
            device=device,
            revision=revision,
        )

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 5] -> [..., 4]: f1, precision, recall (baseline mapped to 0, 1 to 1), truncated."""
        means = super().finalize(summed)
        means[..., :3] = (means[..., :3] - self._baseline) / (1 - self._baseline)
        return means

    def fields(self, context: Context) -> dict[str, object]:
        """`bertscore|model:bert-base-uncased#1f3a90bc|layer:9|max:512|weights:equal|baseline:0|...|refs:5|v:1`."""
        own = self.own(context)
        weights = "equal"
        if own.idf is not None:
            weights = f"idf@{own.documents}#{fingerprint(dict(own.idf))[:4]}"
        shown = self._baseline[[1, 2, 0]].tolist()
        return dict(
            model=own.embedder.name,
            **own.embedder.settings,
            weights=weights,
            baseline=shown[0] if len(set(shown)) == 1 else tuple(shown),
            ws="collapse",
            refs=own.references,
        )

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption: the reference it is most like (by f1), and (token, its partner there, cosine) in order."""
        own = self.own(context)
        found: list[dict[str, Any] | None] = [None] * len(items)
        for index, caption, references, truncated in self._texts(items, [item_status(item) for item in items], own):
            best = max(references, key=lambda reference: match(caption, reference, own)[0])
            cosines = _unit(caption.vectors) @ _unit(best.vectors).T
            partner = cosines.argmax(1)
            found[index] = {
                "reference": [token for token, special in zip(best.tokens, best.special) if not special],
                "matches": [
                    [token, best.tokens[partner[i]], round(float(cosines[i, partner[i]]), 4)]
                    for i, token in enumerate(caption.tokens)
                    if not caption.special[i]
                ],
                "truncated": truncated,
            }
        return found

    def _weigh_tokens(self, corpus: Corpus, embedder: Embedder) -> tuple[dict[str, float] | None, int]:
        """log((M + 1) / (df + 1)) of each token; df: how many of the M references of the corpus have it."""
        if self._weights == "equal":
            return None, 0
        references = [collapse(text) for sample in corpus.samples for text in references_of(sample)]
        counts = Counter(token for tokens in embedder.tokenize(references) for token in set(tokens))
        return {token: math.log((len(references) + 1) / (n + 1)) for token, n in counts.items()}, len(references)

    def _compare(self, caption: Embedding, references: list[Embedding], context: EmbeddingContext) -> tuple[float, ...]:
        values = [match(caption, reference, context) for reference in references]
        return tuple(max(column) for column in zip(*values))


class Similarity(_EmbeddingScorer):
    """The scorer `similarity`: cosine of caption and reference, each as one vector of a sentence encoder.

    Outputs, means over captions:
        similarity: cosine with the most similar reference, in [-1, 1]. The headline.
        truncated: share of captions of which, or of whose references, the encoder did not read the end.
    An empty caption scores 0; a sample without references is unknown.

    Args:
        model: a folder with a text encoder and its tokenizer, or an id of the Hugging Face hub. Required.
        pool: how tokens become one vector: "mean" over all, or "cls", the first.
        layer: whose output is pooled; None for the last.
        max_tokens, batch, device, revision: see `encoder.TransformersEmbedder`.
        embedder: an encoder of your own, instead of `model`.
    """

    name = "similarity"
    outputs = ("similarity",)

    def __init__(
        self,
        *,
        model: str | None = None,
        pool: str = "mean",
        layer: int | None = None,
        max_tokens: int | None = None,
        batch: int = 64,
        device: str = "auto",
        revision: str | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        if pool not in ("mean", "cls"):
            raise ScorerError(f'similarity: pool must be "mean" or "cls", not {pool!r}')
        self._pool = pool
        super().__init__(
            {"similarity": (-1.0, 1.0)},
            model,
            embedder,
            prefix_space=False,
            layer=layer,
            max_tokens=max_tokens,
            batch=batch,
            device=device,
            revision=revision,
        )

    def fields(self, context: Context) -> dict[str, object]:
        """`similarity|model:all-MiniLM-L6-v2#1f3a90bc|layer:6|max:256|pool:mean|ws:collapse|refs:5|v:1`."""
        own = self.own(context)
        return dict(
            model=own.embedder.name, **own.embedder.settings, pool=self._pool, ws="collapse", refs=own.references
        )

    def _compare(self, caption: Embedding, references: list[Embedding], context: EmbeddingContext) -> tuple[float, ...]:
        said, meant = self._pooled(caption), np.stack([self._pooled(reference) for reference in references])
        return (float(np.clip((_unit(meant) @ _unit(said)).max(), -1, 1)),)

    def _pooled(self, text: Embedding) -> Vector:
        return np.asarray(text.vectors[0] if self._pool == "cls" else text.vectors.mean(0, dtype=np.float64))


def match(caption: Embedding, reference: Embedding, context: EmbeddingContext) -> tuple[float, float, float]:
    """(f1, precision, recall) of greedy matching, in [-1, 1], before any baseline.

    Special tokens weigh nothing, but a token may find its partner in one, as in the authors' program. Where precision
    or recall is not above 0, f1 is 0: a harmonic mean has no meaning there. A text whose tokens all weigh nothing
    (under idf, words that every reference has) has precision or recall 0.
    """
    cosines = np.clip(_unit(caption.vectors) @ _unit(reference.vectors).T, -1, 1)
    precision = _mean(cosines.max(1), context.weigh(caption))
    recall = _mean(cosines.max(0), context.weigh(reference))
    f1 = 2 * precision * recall / (precision + recall) if min(precision, recall) > 0 else 0.0
    return f1, precision, recall


def _mean(values: Vector, weights: Vector) -> float:
    total = weights.sum()
    return float(values @ weights / total) if total > 0 else 0.0


def _unit(vectors: NDArray[Any]) -> Vector:
    """Rows scaled to length 1, in float64; a row of zeros stays."""
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def _says_nothing(text: Embedding) -> bool:
    return bool(text.special.all())


def _read_baseline(baseline: float | Sequence[float]) -> tuple[float, float, float]:
    given = [baseline] * 3 if isinstance(baseline, (int, float)) else list(baseline)
    try:
        precision, recall, f1 = (float(value) for value in given)
    except (TypeError, ValueError):
        raise ScorerError(
            f"bertscore: baseline must be one number, or three for precision, recall and f1, not {baseline!r}"
        ) from None
    if not all(0 <= value < 1 for value in (precision, recall, f1)):
        raise ScorerError(f"bertscore: baseline must be at least 0 and below 1, not {baseline!r}")
    return precision, recall, f1
