"""The parts of fooled.py that need what does not come along: Java and the METEOR jar, bert-score, or a text encoder."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caption_sets import Row, Ruler, images, of_others, read, rows_of, shuffled
from capwright.text.java import process
from capwright.types import NO_IMAGE, NotInstalledError, Sample

BUILDING = "with a man and a woman standing in front of a white building"
HORSES = (
    "a man is riding a brown horse on the beach",
    "a horse is riding a brown man on the beach",
    "beach the on horse brown a riding is man a",
    "A man is not riding a brown horse on the beach",
    "a man rides a dark horse at the seaside",
)
#: Sets of which the numbers of pycocoevalcap are there.
PEER_SETS = ("fakecap1000", "val2017_nn", "val2017_human4")
#: Words that make a caption wrong when they change places.
OPPOSITES = {"man": "woman", "black": "white", "dog": "cat", "two": "three"}
OPPOSITES |= {other: one for one, other in OPPOSITES.items()}


def swapped(text: str) -> str:
    return " ".join(OPPOSITES.get(word, word) for word in text.split())


def meteor(count: int) -> list[Row]:
    samples, texts = images("fakecap1000", count)
    ruler = Ruler("meteor", samples, cache=False)
    changes = {
        "none": texts,
        "a phrase behind it": [f"{text.rstrip('. ')} {BUILDING}" for text in texts],
        "words shuffled": [shuffled(text) for text in texts],
    }
    rows = rows_of("fakecap1000", changes, lambda changed: ruler(samples, changed))
    rows[0]["mean"] = float(ruler.each(samples, texts).mean())
    horse = [Sample("horse", NO_IMAGE, (HORSES[0],))]
    rows += rows_of("a sentence", {text: [text] for text in HORSES}, lambda text: ruler(horse, text))
    rows += [beside_the_peer(name, count, java) for name in PEER_SETS for java in (False, True)]
    process.close_all()
    rows[0]["java_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return rows


def beside_the_peer(name: str, count: int, java: bool) -> Row:
    """How far METEOR is from what pycocoevalcap 1.2 gave, with our tokens or with those of the Java tokenizer."""
    samples, texts = images(name, count)
    if java:
        tokens = read(f"{name}_tokens")
        samples = [Sample(each.id, NO_IMAGE, tuple(tokens["gts"][each.id])) for each in samples]
        texts = [tokens["res"][each.id][0] for each in samples]
    ruler, expected = Ruler("meteor", samples, tokenizer="split" if java else "ptb"), read(f"{name}_expected")
    each = ruler.each(samples, texts) - expected["per_caption"]["METEOR"][: len(texts)]
    row: Row = {"data": name, "captions": f"tokens of {'Java' if java else 'ptb'}", "texts": len(texts)}
    row |= {"largest": float(np.abs(each).max()), "differ": int((np.abs(each) > 1e-12).sum())}
    if len(texts) == len(expected["image_ids"]):
        row["corpus"] = abs(ruler(samples, texts)["meteor"] - expected["scores"]["METEOR"])
    return row


def bertscore(count: int) -> list[Row]:
    """How far we are from the authors' program, on both layers of a tiny BERT with random weights."""
    try:
        from bert_score import score
    except ImportError:
        raise NotInstalledError("bertscore: not installed: bert-score (pip install bert-score==0.3.13)") from None
    samples, texts = images("val2017_human4", min(count, 60))
    references, rows = [list(sample.references) for sample in samples], []
    with tempfile.TemporaryDirectory() as folder:
        model = write_bert(Path(folder) / "tiny-bert", [*texts, *(text for group in references for text in group)])
        for layer in (1, 2):
            for weights in ("equal", "idf"):
                theirs = score(texts, references, model_type=model, num_layers=layer, idf=weights == "idf", nthreads=1)
                ruler = Ruler("bertscore", samples, model=model, layer=layer, weights=weights)
                ours = ruler.scorer.finalize(ruler.rows(samples, texts))
                apart = [np.abs(ours[:, ruler.context.outputs.index(name)] - values.numpy()).max()
                         for name, values in zip(("precision", "recall", "f1"), theirs)]  # fmt: skip
                row = {"data": "val2017_human4", "captions": f"layer {layer}, {weights}", "texts": len(texts)}
                rows.append({**row, "apart": float(max(apart))})
    return rows


def write_bert(folder: Path, texts: Sequence[str]) -> str:
    """A BERT of two layers that knows the words of these texts."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir()
    words = sorted({word.strip(".,").lower() for text in texts for word in text.split()} - {""})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), "utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), model_max_length=64)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def embedding(count: int, folder: Path) -> list[Row]:
    samples, texts = images("val2017_human4", min(count, 500))
    others = zip(texts, of_others(texts, 1), of_others(texts, 2))
    changes = {
        "human": texts,
        "nearest neighbor": images("val2017_nn", len(texts))[1],
        "words shuffled": [shuffled(text) for text in texts],
        "denied": [f"There is no {text}" for text in texts],
        "captions of two other images behind it": [" ".join(three) for three in others],
        "of another image": of_others(texts),
        "one for every image": ["An image of something."] * len(texts),
    }
    rulers = {"similarity": Ruler("similarity", samples, model=str(folder))}
    rulers |= {f"f1_{w}": Ruler("bertscore", samples, model=str(folder), weights=w) for w in ("equal", "idf")}
    rulers["f1_third_layer"] = Ruler("bertscore", samples, model=str(folder), layer=3)

    def scores(owners: Sequence[Sample], said: Sequence[str]) -> dict[str, float]:
        return {name: ruler(owners, said)[ruler.scorer.spec.headline] for name, ruler in rulers.items()}

    rows = rows_of("val2017_human4", changes, lambda changed: scores(samples, changed))
    with_word = [(sample, text) for sample, text in zip(samples, texts) if swapped(text) != text]
    owners = [sample for sample, _ in with_word]
    wrong = {"with such a word": [text for _, text in with_word], "swapped": [swapped(text) for _, text in with_word]}
    return rows + rows_of("val2017_human4", wrong, lambda changed: scores(owners, changed))
