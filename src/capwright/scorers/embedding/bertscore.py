"""Metrics on the vectors of a text encoder: BERTScore, and the cosine of whole captions.

The encoder is the user's choice (`models.text_encoder.TransformersEmbedder`, or anything with the same two methods).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capwright.data.cache_dir import cache_folder
from capwright.models.encoders import CachedEncoder, Encoder, Encoding, PooledEncoder, unit
from capwright.models.text_encoder import Embedder, Embedding, Memory, TransformersEmbedder
from capwright.scorers._words import count_references
from capwright.scorers.base import (
    SCORED,
    Context,
    Corpus,
    Item,
    ItemStats,
    Scorer,
    ScorerSpec,
    item_status,
    references_of,
)
from capwright.scorers.options import Positive
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
        memory: embeds with it as the scorer needs it, and remembers references.
        references: how many references samples have, "5" or "5..7".
        idf: weight of each token that references have; None when all tokens weigh 1.
        documents: how many references `idf` was counted on.
    """

    embedder: Embedder
    memory: Memory[Any]
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


@dataclass(eq=False)
class _EmbeddingScorer(Scorer[EmbeddingContext]):
    """What both scorers share: options, a context with an encoder, one row for each caption."""

    context_type = EmbeddingContext

    model: str | None = field(default=None, kw_only=True)
    layer: Annotated[int, Field(ge=0)] | None = field(default=None, kw_only=True)
    max_tokens: Annotated[int, Field(ge=8)] | None = field(default=None, kw_only=True)
    batch: Positive = field(default=64, kw_only=True)
    device: str = field(default="auto", kw_only=True)
    revision: str | None = field(default=None, kw_only=True)
    embedder: Embedder | None = field(default=None, kw_only=True)

    _prefix_space = False

    def __post_init__(self) -> None:
        if (self.model is None) == (self.embedder is None):
            name = self.spec.name
            raise ScorerError(
                f"{name}: needs a text encoder, and none comes with capwright: give the option model, a folder "
                f"with an encoder and its tokenizer or an id of the Hugging Face hub (--set {name}.model=FOLDER)"
            )
        self._embedder = self.embedder

    def prepare(self, corpus: Corpus) -> EmbeddingContext:
        """Load the encoder.

        Raises DataError when no sample has references, NotInstalledError when there is no such model, and ScorerError
        when it cannot encode text.
        """
        references = count_references(corpus, self.spec.name)
        if self._embedder is None:
            options = {key: getattr(self, key) for key in ("layer", "max_tokens", "batch", "device", "revision")}
            self._embedder = TransformersEmbedder(
                str(self.model), **options, prefix_space=self._prefix_space, asks=self.spec.name
            )
        embedder = self._embedder
        idf, documents = self._weigh_tokens(corpus, embedder)
        content = [embedder.name, dict(embedder.settings), idf, documents]
        more = dict[str, Any](references=references, idf=idf, documents=documents)
        return self.make_context(content, embedder=embedder, memory=self._make_memory(embedder), **more)

    def measure(self, items: Sequence[Item], context: EmbeddingContext) -> list[ItemStats]:
        """Rows of the outputs, then 1. Evidence: {"truncated": texts that the encoder did not read to their end}."""
        found = [ItemStats(None)] * len(items)
        silence = [0.0] * (len(context.outputs) - 1)
        for index, caption, references, truncated in self._texts(items, context):
            values = silence if caption.empty else self._compare(caption, references, context)
            evidence: dict[str, Any] | None = {"truncated": truncated} if truncated else None
            status = Status.EMPTY if caption.empty else Status.OK
            found[index] = ItemStats((*values, bool(truncated), 1), status, evidence)
        return found

    def _texts(
        self, items: Sequence[Item], context: EmbeddingContext
    ) -> Iterator[tuple[int, Any, list[Any], list[str]]]:
        """(item, caption, references that say something, which texts were cut) of items that can be compared."""
        wanted = [i for i, item in enumerate(items) if item_status(item) in SCORED and item.sample.references]
        for start in range(0, len(wanted), _AT_ONCE):
            chosen = wanted[start : start + _AT_ONCE]
            captions = {i: collapse(items[i].caption) for i in chosen}
            references = {i: [collapse(text) for text in items[i].sample.references] for i in chosen}
            found = context.memory.embed(
                keep=[text for i in chosen for text in references[i]], pass_on=list(captions.values())
            )
            for i in chosen:
                meant = [(number, found[text]) for number, text in enumerate(references[i], 1) if text]
                meant = [(number, text) for number, text in meant if not text.empty]
                if meant:
                    cut = ["caption"] if found[captions[i]].cut else []
                    cut += [f"reference {number}" for number, text in meant if text.cut]
                    yield i, found[captions[i]], [text for _, text in meant], cut

    def _weigh_tokens(self, corpus: Corpus, embedder: Embedder) -> tuple[dict[str, float] | None, int]:
        """Weight of each token and how many references say so; None where tokens have no weights."""
        return None, 0

    def _make_memory(self, embedder: Embedder) -> Memory[Any]:
        """What texts are turned into for `_compare`."""
        return Memory(embedder.embed)

    @abstractmethod
    def _compare(self, caption: Any, references: list[Any], context: EmbeddingContext) -> tuple[float, ...]:
        """Values of `outputs` for a caption that says something, beside at least one reference that does."""


@dataclass(eq=False)
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
        max_tokens, batch, device, revision: see `models.text_encoder.TransformersEmbedder`.
        embedder: an encoder of your own, instead of `model`.
    """

    spec = ScorerSpec(
        name="bertscore",
        outputs=("f1", "precision", "recall", "truncated"),
        needs={"references", "model"},
        unit="item|ctx",
        cost="model",
        about="tokens matched with the most similar ones of a reference, in the space of a model that you name",
        source="arXiv 1904.09675",
        page="embedding-metrics",
        titles={"bertscore.f1": "BERTScore"},
    )

    weights: Literal["equal", "idf"] = field(default="equal", kw_only=True)
    baseline: float | Sequence[float] = field(default=0.0, kw_only=True)

    _prefix_space = True

    def __post_init__(self) -> None:
        super().__post_init__()
        precision, recall, f1 = _read_baseline(self.baseline)
        self._baseline = np.array([f1, precision, recall])
        lowest = [(low - b) / (1 - b) for low, b in zip((0.0, -1.0, -1.0), self._baseline.tolist())]
        self.spec = replace(
            self.spec, ranges={name: (low, 1.0) for name, low in zip(self.spec.outputs, [*lowest, 0.0])}
        )

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 5] -> [..., 4]: f1, precision, recall (baseline mapped to 0, 1 to 1), truncated."""
        means = super().finalize(summed)
        means[..., :3] = (means[..., :3] - self._baseline) / (1 - self._baseline)
        return means

    def fields(self, context: EmbeddingContext) -> dict[str, object]:
        """`bertscore|model:bert-base-uncased#1f3a90bc|layer:9|max:512|weights:equal|baseline:0|...|refs:5|v:1`."""
        weights = "equal"
        if context.idf is not None:
            weights = f"idf@{context.documents}#{fingerprint(dict(context.idf))[:4]}"
        shown = self._baseline[[1, 2, 0]].tolist()
        return dict(
            model=context.embedder.name,
            **context.embedder.settings,
            weights=weights,
            baseline=shown[0] if len(set(shown)) == 1 else tuple(shown),
            ws="collapse",
            refs=context.references,
        )

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption: the reference it is most like (by f1), and (token, its partner there, cosine) in order."""
        own = self.own_context(context)
        found: list[dict[str, Any] | None] = [None] * len(items)
        for index, caption, references, truncated in self._texts(items, own):
            best = max(references, key=lambda reference: match(caption, reference, own)[0])
            cosines = unit(caption.vectors) @ unit(best.vectors).T
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
        if self.weights == "equal":
            return None, 0
        references = [collapse(text) for sample in corpus.samples for text in references_of(sample)]
        counts = Counter(token for tokens in embedder.tokenize(references) for token in set(tokens))
        return {token: math.log((len(references) + 1) / (n + 1)) for token, n in counts.items()}, len(references)

    def _compare(self, caption: Embedding, references: list[Embedding], context: EmbeddingContext) -> tuple[float, ...]:
        values = [match(caption, reference, context) for reference in references]
        return tuple(max(column) for column in zip(*values))


@dataclass(eq=False)
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
        cache: keep vectors on disk (see `models.encoders.CachedEncoder`). A vector differs by rounding with the batch
            that it was made in; kept, it is the one of the first time.
        max_tokens, batch, device, revision: see `models.text_encoder.TransformersEmbedder`.
        embedder: an encoder of your own, instead of `model`.
    """

    spec = ScorerSpec(
        name="similarity",
        outputs=("similarity", "truncated"),
        ranges={"similarity": (-1.0, 1.0), "truncated": (0.0, 1.0)},
        needs={"references", "model"},
        unit="item|ctx",
        cost="model",
        about="cosine of caption and reference, in the space of a model that you name",
        page="embedding-metrics",
    )

    pool: Literal["mean", "cls"] = field(default="mean", kw_only=True)
    cache: bool = field(default=False, kw_only=True)

    def fields(self, context: EmbeddingContext) -> dict[str, object]:
        """`similarity|model:all-MiniLM-L6-v2#1f3a90bc|layer:6|max:256|pool:mean|ws:collapse|refs:5|v:1`."""
        encoder = dict(model=context.embedder.name, **context.embedder.settings)
        return encoder | dict(pool=self.pool, ws="collapse", refs=context.references)

    def _make_memory(self, embedder: Embedder) -> Memory[Any]:
        encoder: Encoder = PooledEncoder(embedder, self.pool)
        return Memory(CachedEncoder(encoder, cache_folder()).texts if self.cache else encoder.texts)

    def _compare(self, caption: Encoding, references: list[Encoding], context: EmbeddingContext) -> tuple[float, ...]:
        cosines = np.stack([reference.vector for reference in references]) @ caption.vector
        return (float(np.clip(cosines.max(), -1, 1)),)


def match(caption: Embedding, reference: Embedding, context: EmbeddingContext) -> tuple[float, float, float]:
    """(f1, precision, recall) of greedy matching, in [-1, 1], before any baseline.

    Special tokens weigh nothing, but a token may find its partner in one, as in the authors' program. Where precision
    or recall is not above 0, f1 is 0: a harmonic mean has no meaning there. A text whose tokens all weigh nothing
    (under idf, words that every reference has) has precision or recall 0.
    """
    cosines = np.clip(unit(caption.vectors) @ unit(reference.vectors).T, -1, 1)
    precision = _mean(cosines.max(1), context.weigh(caption))
    recall = _mean(cosines.max(0), context.weigh(reference))
    f1 = 2 * precision * recall / (precision + recall) if min(precision, recall) > 0 else 0.0
    return f1, precision, recall


def _mean(values: Vector, weights: Vector) -> float:
    total = weights.sum()
    return float(values @ weights / total) if total > 0 else 0.0


def _read_baseline(baseline: float | Sequence[float]) -> Sequence[float]:
    values = [baseline] * 3 if isinstance(baseline, float) else baseline
    if len(values) != 3:
        raise ScorerError(
            f"bertscore.baseline: must be one number, or three for precision, recall and f1, not {baseline!r}"
        )
    if not all(0 <= value < 1 for value in values):
        raise ScorerError(f"bertscore.baseline: must be at least 0 and below 1, not {baseline!r}")
    return values
