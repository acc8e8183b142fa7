"""How are scorers fooled, and what do they say of captions by people? The captions of tests/captions, changed.

    python benchmarks/fooled.py [--quick] [--parts PART ...] [--encoder FOLDER] [--json FILE]

Every row is one way to write the captions of a set, with the scores of it:

    references   bleu, rougeL, ciderD and cider: 5,000 captions of COCO val2017, each of another, similar image
    tables       ciderD by where df comes from, bleu and ciderD by the tokenizer
    chrf         the first 1,000 images
    chair        human captions, judged by a part of their references, and of tests/photos by boxes
    distinct     sets of human captions of several sizes, with and without a budget
    repetition   human captions, short and long
    diversity    several captions of one image, of the first 1,000 images
    readability  human captions, short and long
    agreement    the length of long captions, and which of two people prefer
    meteor       the 1,000 example captions of coco-caption, and how far three sets are from what pycocoevalcap says;
                 left out without Java and the METEOR jar
    bertscore    60 captions by us and by bert-score, on a tiny encoder; left out without that package
    embedding    similarity and bertscore of the first 500 images; left out without --encoder, the folder of a model

Nothing is trained and nothing is timed. In FILE rows of other parts stay as they were.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from caption_sets import (
    Row,
    Ruler,
    groups,
    half,
    images,
    long_captions,
    made_up,
    of_others,
    one_human,
    random_words,
    read_long,
    rows_of,
    shuffled,
    without_references,
)
from capwright.data import read_coco
from capwright.evaluation.human_agreement import agreement as agree
from capwright.evaluation.human_agreement import pairwise_agreement
from capwright.types import NO_IMAGE, NotInstalledError, Sample
from fooled_extra import bertscore, embedding, meteor
from results_file import append_rows

PHOTOS = Path(__file__).parent.parent / "tests" / "photos"
MOOD = "The light is soft and warm, and the mood of the scene is calm."
ONE = "a man standing in front of a table with a"
LONG = "A man is standing in front of a group of people with a white and black dog on the street."
BALLS = "a red ball and a red ball and a red ball and a red ball"
MIXED = "a red ball and a blue ball and a big ball and an old ball"
SENTENCES = (
    "A small wooden toy stands on the table.",
    "A dog runs on the grass near the old stone wall.",
    "old the A on stone dog near the grass runs wall.",
    "A. Dog. Runs. On. Grass.",
    "Extraordinary!",
)


def references(count: int) -> list[Row]:
    """Captions changed all in the same way, by scores that compare n-grams with references."""
    samples, texts = images("val2017_nn", count)
    words = [text.split() for text in texts]
    changes = {
        "none": texts,
        '"not" after the first word': [" ".join([*each[:1], "not", *each[1:]]) for each in words],
        "the last word left out": [" ".join(each[:-1]) for each in words],
        "the first half only": [half(text) for text in texts],
        "said twice": [f"{text} {text}" for text in texts],
        "one sentence behind it": [f"{text} {MOOD}" for text in texts],
        "words in reverse order": [" ".join(text.rstrip(". ").split()[::-1]) for text in texts],
        "one for every image": [ONE] * len(texts),
    }
    rulers = {name: Ruler(name, samples) for name in ("bleu", "rougeL", "ciderD", "cider")}
    rows = []
    for change, changed in changes.items():
        scores: dict[str, float] = {}
        for ruler in rulers.values():
            scores |= ruler(samples, changed)
        rows.append({"data": "val2017_nn", "captions": change, "images": len(texts), **scores})
    each = rulers["bleu"].each(samples, texts)
    rows[0] |= {"bleu4_mean": float(each.mean()), "bleu4_below": float((each < 0.001).mean())}
    return rows


def tables(count: int) -> list[Row]:
    """What a score depends on besides the captions."""
    samples, texts = images("val2017_nn", count)
    few = samples[: min(100, len(samples) // 2)]
    people, said = images("val2017_human4", count)
    example, generated = images("fakecap1000", count)
    cider = {
        "df of all images": Ruler("ciderD", samples)(few, texts[: len(few)]),
        "df of the same 100 images": Ruler("ciderD", few)(few, texts[: len(few)]),
        "all, df of COCO val2014": Ruler("ciderD", samples, idf="coco-val2014")(samples, texts),
        "one of people against four": Ruler("ciderD", people)(people, said),
    }
    cut = {
        f"cut by {name}": {
            **Ruler("bleu", example, tokenizer=name)(example, generated),
            **Ruler("ciderD", example, tokenizer=name)(example, generated),
        }
        for name in ("ptb", "words", "split")
    }
    return [{"data": "val2017", "captions": name, **scores} for name, scores in cider.items()] + [
        {"data": "fakecap1000", "captions": name, **scores} for name, scores in cut.items()
    ]


def chrf(count: int) -> list[Row]:
    samples, texts = images("val2017_nn", min(count, 1000))
    ruler = Ruler("chrf", samples)
    others = zip(texts, of_others(texts, 1), of_others(texts, 2))
    changes = {
        "none": texts,
        "of another image": of_others(texts),
        "one for every image": [LONG] * len(texts),
        "words shuffled": [shuffled(text) for text in texts],
        "captions of two other images behind it": [" ".join(three) for three in others],
    }
    return rows_of("val2017_nn", changes, lambda changed: ruler(samples, changed))


def chair(count: int) -> list[Row]:
    samples, texts = images("val2017_human4", count)
    rows = []
    for many in (1, 3, 4):
        judged = [Sample(sample.id, NO_IMAGE, sample.references[:many]) for sample in samples]
        scores = Ruler("chair", judged)(judged, texts)
        rows.append({"data": "val2017_human4", "captions": f"judged by {many}", "images": len(judged), **scores})
    photos, vocabulary = read_coco(PHOTOS / "annotations.json", PHOTOS)
    ruler = Ruler("chair", photos, vocabulary, references=False)
    single = [(photo, text) for photo in photos for text in photo.references]
    by_boxes = {
        "each": single,
        "the first": [(photo, photo.references[0]) for photo in photos],
        "one after the other": [(photo, " ".join(photo.references)) for photo in photos],
    }
    for name, pairs in by_boxes.items():
        owners, said = [photo for photo, _ in pairs], [text for _, text in pairs]
        hallucinated, mentions = ruler.rows(owners, said).sum(0)[:2].astype(int).tolist()
        counts = {"images": len(photos), "texts": len(said), "mentions": mentions, "hallucinated": hallucinated}
        rows.append({"data": "photos", "captions": name, **counts, **ruler(owners, said)})
    man = [Sample("man", NO_IMAGE, ("A man.",))]
    ruler = Ruler("chair", man)
    said = ("A man.", "A man and a cat.", "A man, a man, a man, a man and a cat.")
    return rows + rows_of("an image of a man", {text: [text] for text in said}, lambda text: ruler(man, text))


def distinct(count: int) -> list[Row]:
    people = one_human(count)
    sets = {
        "people": people,
        "people, every second": people[::2],
        "people, every tenth": people[::10],
        "of other images": images("val2017_nn", count)[1],
        "ten random words": random_words(people),
    }
    rows = rows_of("val2017", sets, lambda texts: without_references("distinct", texts))
    for row, texts in zip(rows, sets.values()):
        within = without_references("distinct", texts, budget=4000 if count >= 5000 else count // 10)
        row |= {f"{name}_4000": value for name, value in within.items()}
    return rows


def repetition(count: int) -> list[Row]:
    sets = {"COCO": one_human(count), "ImageInWords": long_captions(count), BALLS: [BALLS], MIXED: [MIXED]}
    return rows_of("texts", sets, lambda texts: without_references("repetition", texts))


def readability(count: int) -> list[Row]:
    sets = {"COCO": one_human(count), "ImageInWords": long_captions(count), **{text: [text] for text in SENTENCES}}
    return rows_of("texts", sets, lambda texts: without_references("readability", texts))


def diversity(count: int) -> list[Row]:
    samples = groups(min(count, 1000))
    people = [sample.references[:5] for sample in samples]
    first = [group[0] for group in people]
    words = random_words([text for group in people for text in group])
    rng = random.Random(0)
    sets: dict[str, list[Sequence[str]]] = {
        "five by people": list(people),
        "the first two of these": [group[:2] for group in people],
        "five of other images": list(zip(*(of_others(first, steps) for steps in range(1, 6)))),
        "five times ten random words": [words[start : start + 5] for start in range(0, len(words), 5)],
        "one in five random orders": [[shuffled(text, k) for k in range(5)] for text in first],
        "four copies and another one": [[*[group[0]] * 4, group[1]] for group in people],
        "one with five made-up words behind it": [
            [f"{text.rstrip('. ')} {made_up(rng)}" for _ in range(5)] for text in first
        ],
    }
    ruler = Ruler("diversity", samples)
    rows = []
    for name, captions in sets.items():
        owners = [sample for sample, group in zip(samples, captions) for _ in group]
        texts = [text for group in captions for text in group]
        rows.append({"data": "val2017", "captions": name, "images": len(samples), **ruler(owners, texts)})
        if captions is sets["five by people"]:
            authors = as_the_authors(samples, captions)
            ours = ruler.each(owners, texts)
            rows[0] |= {"authors": float(authors.mean()), "correlation": float(np.corrcoef(ours, authors)[0, 1])}
    return rows


def as_the_authors(samples: Sequence[Sample], captions: Sequence[Sequence[str]]) -> np.ndarray:
    """Self-CIDEr of each image in the way of the authors' program: CIDEr-D, measured one way, and singular values."""
    ruler, found = Ruler("ciderD", samples), []
    for group in captions:
        row, column = np.tril_indices(len(group))
        kernel = np.zeros((len(group), len(group)))
        pairs = [Sample("", NO_IMAGE, (group[i],)) for i in row], [group[i] for i in column]
        kernel[row, column] = kernel[column, row] = ruler.each(*pairs)
        roots = np.sqrt(np.linalg.svd(kernel, compute_uv=False))
        found.append(np.log(roots.sum() / roots[0]) / np.log(len(group)))
    return np.array(found)


#: What people were asked of two captions, and what they answered: above 0 the person's is better.
AXES = {"comprehensive": "metrics/Comprehensiveness", "invents less": "metrics/Hallucination"}
VERDICTS = {
    "IIW-Human is substantially better": 2,
    "IIW-Human is marginally better": 1,
    "Neutral": 0,
    "IIW-P5B is marginally better": -1,
    "IIW-P5B is substantially better": -2,
}


def agreement(count: int) -> list[Row]:
    """Two captions of an image, one by a person and one by a model: does length say which of them people prefer?"""
    pairs = [row for row in read_long() if "IIW-P5B" in row][:count]
    person, model = ([len(row[by].split()) for row in pairs] for by in ("IIW", "IIW-P5B"))
    said = {axis: [VERDICTS[row["iiw-human-sxs-iiw-p5b"][key]] for row in pairs] for axis, key in AXES.items()}
    gain = np.subtract(person, model)
    found = {
        "the longer one": pairwise_agreement(person, model, said["comprehensive"]),
        "the person's": pairwise_agreement([1] * len(pairs), [0] * len(pairs), said["comprehensive"]),
        **{f"how much longer, {axis}": agree(gain, verdicts) for axis, verdicts in said.items()},
    }
    longer = int((gain > 0).sum())
    return [
        {"data": "ImageInWords", "captions": name, "pairs": len(pairs), "longer": longer,
         "value": one.value, "low": one.low, "high": one.high}
        for name, one in found.items()
    ]  # fmt: skip


PARTS: dict[str, Callable[[int], list[Row]]] = {
    part.__name__: part
    for part in (
        references,
        tables,
        chrf,
        chair,
        distinct,
        repetition,
        diversity,
        readability,
        agreement,
        meteor,
        bertscore,
    )
}


def measure(part: str, count: int, encoder: Path | None) -> list[Row]:
    """The rows of a part; none, and a message, where something that it needs is not here."""
    if part == "embedding" and encoder is None:
        print("\nembedding: left out; it needs an encoder: --encoder FOLDER")
        return []
    try:
        rows = embedding(count, encoder) if encoder and part == "embedding" else PARTS[part](count)
    except NotInstalledError as error:
        print(f"\n{part}: left out; {error}")
        return []
    print(f"\n{part}")
    for row in rows:
        numbers = " ".join(f"{name} {value:.4g}" for name, value in row.items() if not isinstance(value, str))
        print(f"  {row['data']:20} {row['captions'][:40]:40} {numbers}")
    return [{"part": part, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*PARTS, "embedding"]
    parser.add_argument("--quick", action="store_true", help="60 captions of each set")
    parser.add_argument("--parts", nargs="+", default=every, choices=every, metavar="PART", help="which of these")
    parser.add_argument("--encoder", type=Path, metavar="FOLDER", help="of a text encoder, such as all-MiniLM-L6-v2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    count = 60 if arguments.quick else 5000
    rows = [row for part in arguments.parts for row in measure(part, count, arguments.encoder)]
    if arguments.json:
        append_rows(arguments.json, rows, ("part", "data", "captions"), peers=["bert-score"])


if __name__ == "__main__":
    main()
