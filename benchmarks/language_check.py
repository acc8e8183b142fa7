"""Does the scorer `language`, without a judge, see how badly a caption was spoiled?

    python benchmarks/language_check.py [--quick] [--parts spoiled fooled speed] [--json FILE]

Captions that people or the built-in kindergarten wrote are spoiled in eight ways, each by six amounts from nothing to
all that the way allows. The scorer learns from captions of other images. Printed for each way: the mean score at each
amount, and Spearman's correlation of amount and score, its sign turned so that 1 is best:

    within   of the six versions of one caption, mean over captions; equal scores throughout count 0
    pooled   of all versions of all captions at once: good captions differ in their scores too, and amounts are shares

Captions: expert captions of the built-in kindergarten, COCO val2017 (tests/captions), and the long captions of
ImageInWords (tests/captions). The second table is how the scorer is fooled on COCO captions, the last one how many
captions a second are scored, groups of eight as a reward. --parts leaves tables out: only the last one is a matter of
the machine. In FILE rows of other parts stay as they were.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from capwright.evaluation.stats.correlation import spearman
from capwright.scenes import expert_captions, sample_scene
from capwright.scorers.base import Corpus, Item
from capwright.scorers.fluency.language import Language
from capwright.scorers.reward import RewardView
from capwright.types import NO_IMAGE, Caption, Sample
from results_file import append_rows

CAPTIONS = Path(__file__).parent.parent / "tests" / "captions"
AMOUNTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PARTS = ("spoiled", "fooled", "speed")
#: Words that join; names are what is left of a caption without them.
JOINING = frozenset(
    ("a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "is", "it", "its", "of", "on", "one", "or", "see")
    + ("that", "the", "their", "there", "to", "was", "we", "with")
)

Words = list[str]
#: (words, amount from 0 to 1, dice, other captions) -> text
Way = Callable[[Words, float, random.Random, Sequence[Words]], str]


def drop(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """Words are left out; at 1, six of ten."""
    gone = set(rng.sample(range(len(words)), round(0.6 * amount * len(words))))
    return " ".join(word for i, word in enumerate(words) if i not in gone)


def swap(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """Neighbors change places; at 1, as many pairs as there are."""
    words = list(words)
    for i in rng.sample(range(len(words) // 2), round(amount * (len(words) // 2))):
        words[2 * i], words[2 * i + 1] = words[2 * i + 1], words[2 * i]
    return " ".join(words)


def shuffle(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """Words anywhere change places with each other; at 1, all of them."""
    words = list(words)
    places = rng.sample(range(len(words)), round(amount * len(words)))
    for here, there in zip(places, [words[i] for i in rng.sample(places, len(places))]):
        words[here] = there
    return " ".join(words)


def repeat(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """Stretches of one to three words are said again at once; at 1, as many words are added as there were."""
    found = list(words)
    while len(found) < round((1 + amount) * len(words)):
        size = min(rng.randint(1, 3), round((1 + amount) * len(words)) - len(found))
        end = rng.randint(size, len(found))
        found[end:end] = found[end - size : end]
    return " ".join(found)


def loop(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """The last four words are said over and over; at 1, five times more."""
    return " ".join([*words, *(words[-4:] * round(5 * amount))])


def truncate(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """The end is missing; at 1, six of ten words. What is left may be a sentence."""
    return " ".join(words[: len(words) - round(0.6 * amount * len(words))])


def fragments(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """Pieces of different captions, one after the other; at 1, pieces of two words."""
    joins = round(amount * (len(words) // 2 - 1)) if len(words) > 3 else 0
    ends = sorted(rng.sample(range(1, len(words)), joins))
    found: Words = []
    for k, (start, end) in enumerate(zip([0, *ends], [*ends, len(words)])):
        source = words if k == 0 else rng.choice(others)
        at = start if k == 0 else rng.randrange(max(1, len(source) - (end - start)))
        found += source[at : at + end - start]
    return " ".join(found)


def names(words: Words, amount: float, rng: random.Random, others: Sequence[Words]) -> str:
    """Words that join become commas; at 1 a list of what is there."""
    joining = [i for i, word in enumerate(words) if word.lower() in JOINING]
    gone = set(rng.sample(joining, round(amount * len(joining))))
    found: Words = []
    for i, word in enumerate(words):
        if i not in gone:
            found.append(word)
        elif found and not found[-1].endswith((",", ".")):
            found[-1] += ","
    return " ".join(found)


WAYS: dict[str, Way] = {
    "words left out": drop,
    "neighbors swapped": swap,
    "words shuffled": shuffle,
    "stretches repeated": repeat,
    "caught in a loop": loop,
    "cut off": truncate,
    "fragments joined": fragments,
    "list of names": names,
}


def spoil(text: str, way: str, amount: float, others: Sequence[Words]) -> str:
    """A text spoiled; the same way for the same text, whatever else is spoiled."""
    seed = hashlib.blake2b(f"{way}\n{amount}\n{text}".encode(), digest_size=8).hexdigest()
    return WAYS[way](text.split(), amount, random.Random(seed), others)


def check(texts: Sequence[str], learned: Sequence[Sequence[str]], data: str, scorer: Language) -> list[dict]:
    """One row a way: texts spoiled and scored by what was learned from other texts in groups."""
    context = scorer.prepare(Corpus([Sample(str(i), NO_IMAGE, tuple(group)) for i, group in enumerate(learned)]))
    others = [text.split() for text in texts]  # nor may the pieces of fragments have been learned
    rows = []
    for way in WAYS:
        versions = [[spoil(text, way, amount, others) for amount in AMOUNTS] for text in texts]
        items = [Item(Sample("", NO_IMAGE), text) for group in versions for text in group]
        scores = scorer.finalize(scorer.stats(items, context).rows)[:, -1].reshape(len(texts), len(AMOUNTS))
        amounts = np.array(AMOUNTS)
        row = {"part": "spoiled", "data": data, "way": way, "captions": len(texts)}
        row["within"] = -float(np.mean([_rank(amounts, each) for each in scores]))
        row["pooled"] = -_rank(np.tile(amounts, len(texts)), scores.reshape(-1))
        rows.append(row | {"means": scores.mean(0).tolist()})
    return rows


def _rank(amounts: np.ndarray, scores: np.ndarray) -> float:
    """Spearman's correlation; 0 where all scores are equal."""
    return float(np.nan_to_num(spearman(amounts, scores.round(9))(np.ones((1, len(amounts))))[0]))


def kindergarten(learn: int, spoiled: int) -> tuple[list[str], list[list[str]]]:
    """(texts, groups to learn from) of the built-in world."""
    groups = [expert_captions(sample_scene(1, index)) for index in range(learn + spoiled)]
    return [group[0] for group in groups[learn:]], groups[:learn]


def coco(learn: int, spoiled: int) -> tuple[list[str], list[list[str]]]:
    """The same of COCO val2017; five captions an image, and the first of each is spoiled."""
    rows = json.loads(gzip.decompress((CAPTIONS / "val2017_references.json.gz").read_bytes()))["annotations"]
    said: dict[int, list[str]] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        said.setdefault(row["image_id"], []).append(row["caption"].strip())
    groups = [said[image] for image in sorted(said)]
    return [group[0] for group in groups[-spoiled:]], groups[: min(learn, len(groups) - spoiled)]


def image_in_words(learn: int, spoiled: int) -> tuple[list[str], list[list[str]]]:
    """The same of 400 long captions, of which a quarter is spoiled."""
    lines = gzip.decompress((CAPTIONS / "iiw400.jsonl.gz").read_bytes()).decode().splitlines()
    texts = [" ".join(json.loads(line)["IIW"].split()) for line in lines]
    return texts[-100:], [[text] for text in texts[:-100]]


def fool(texts: Sequence[str], learned: Sequence[Sequence[str]]) -> list[dict]:
    """Mean scores of texts that are all changed in one way which the checks do not mind, or mind too much."""
    scorer = Language()
    context = scorer.prepare(Corpus([Sample(str(i), NO_IMAGE, tuple(group)) for i, group in enumerate(learned)]))
    plain = [text.rstrip(". ") for text in texts]
    first = plain[0]
    changes: dict[str, list[str]] = {
        "none": plain,
        "the caption of another image": plain[1:] + plain[:1],
        "one and the same caption for every image": [first] * len(plain),
        '"not" after the verb: the meaning turned around': [text.replace(" is ", " is not ") for text in plain],
        '"a" and "the" left out': [
            " ".join(w for w in t.split() if w.lower() not in ("a", "an", "the")) for t in plain
        ],
        '"is" and "are" exchanged': [_exchange(text, "is", "are") for text in plain],
        "praise behind it": [f"{text}. It is a very nice image of a beautiful day." for text in plain],
        "a second caption behind it, of another image": [f"{a}. {b}." for a, b in zip(plain, plain[1:] + plain[:1])],
        "said twice": [f"{text}. {text}." for text in plain],
        "every sixth word misspelled": [_misspell(text, 6) for text in plain],
    }
    rows = []
    for change, changed in changes.items():
        items = [Item(Sample("", NO_IMAGE), text) for text in changed]
        means = scorer.finalize(scorer.stats(items, context).rows.sum(0)).tolist()
        row = {"part": "fooled", "data": "COCO val2017", "way": change, "captions": len(changed)}
        rows.append({**row, **dict(zip(scorer.spec.outputs, means))})
    return rows


def _exchange(text: str, one: str, other: str) -> str:
    new = {one: other, other: one}
    return " ".join(new.get(word, word) for word in text.split())


def _misspell(text: str, every: int) -> str:
    """Every nth word has its inner letters turned around."""
    words = text.split()
    return " ".join(w[:1] + w[-2:0:-1] + w[-1:] if i % every == every - 1 else w for i, w in enumerate(words))


def speed(data: str, learned: Sequence[Sequence[str]], texts: Sequence[str]) -> dict:
    """Seconds to learn, and captions a second as a reward: 32 images, eight captions each, none seen before."""
    samples = [Sample(str(i), NO_IMAGE, tuple(group)) for i, group in enumerate(learned)]
    scorer = Language()
    start = time.perf_counter()
    context = scorer.prepare(Corpus(samples))
    prepared = time.perf_counter() - start
    view = RewardView(scorer, context)
    versions = [[Caption(f"{text} {k}") for k in range(8)] for text in texts]
    start = time.perf_counter()
    for first in range(0, len(texts), 32):
        view(samples[: len(versions[first : first + 32])], versions[first : first + 32])
    seconds = time.perf_counter() - start
    return {
        "part": "speed",
        "data": data,
        "way": "eight captions an image",
        "captions": 8 * len(texts),
        "learn_seconds": round(prepared, 2),
        "captions_per_second": round(8 * len(texts) / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 captions of each kind")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="which tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    learn, count = (2000, 100) if arguments.quick else (4000, 1000)
    sources = {"kindergarten": kindergarten, "COCO val2017": coco, "ImageInWords": image_in_words}
    captions = {data: source(learn, count) for data, source in sources.items()}
    rows: list[dict] = []
    if "spoiled" in arguments.parts:
        print(f"{'data':14} {'way':20} {'within':>7} {'pooled':>7}   mean score at amounts {AMOUNTS}")
        for data, (texts, learned) in captions.items():
            rows += show_spoiled(check(texts, learned, data, Language()))
    if "fooled" in arguments.parts:
        rows += show_fooled(fool(*captions["COCO val2017"]))
    if "speed" in arguments.parts:
        print(f"{'data':14} {'seconds to learn':>17} {'captions a second':>18}")
        for data, (texts, learned) in captions.items():
            row = speed(data, learned, texts)
            print(f"{data:14} {row['learn_seconds']:17.2f} {row['captions_per_second']:18,}")
            rows.append(row)
    if arguments.json:
        append_rows(arguments.json, rows, ("part", "data", "way"))


def show_spoiled(rows: list[dict]) -> list[dict]:
    """Print a row a way and the mean over ways; the rows with that of the mean."""
    means = {key: float(np.mean([row[key] for row in rows])) for key in ("within", "pooled")}
    at = np.mean([row["means"] for row in rows], axis=0).tolist()
    rows = [*rows, {**rows[0], "way": "mean", **means, "means": at}]
    for row in rows:
        scores = " ".join(f"{mean:6.3f}" for mean in row["means"])
        print(f"{row['data']:14} {row['way']:20} {row['within']:7.3f} {row['pooled']:7.3f}   {scores}")
    print()
    return rows


def show_fooled(rows: list[dict]) -> list[dict]:
    print(f"{'COCO captions, changed':50} {'clarity':>9} {'fluency':>9} {'coherence':>9} {'language':>9}")
    for row in rows:
        means = " ".join(f"{row[name]:9.3f}" for name in ("clarity", "fluency", "coherence", "language"))
        print(f"{row['way']:50} {means}")
    print()
    return rows


if __name__ == "__main__":
    main()
