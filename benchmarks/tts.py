"""How fast is TTS? 100,000 captions against a vocabulary of 1,000 terms, beside searching for each term on its own.

    python benchmarks/tts.py [--json FILE] [--quick]

The peer is the loop that most scripts have: for every caption, one compiled regular expression with word boundaries
for each term and its plural. It does less (no longest match, no folding, no offsets of what is generic or wrong) and
runs on a part of the captions, because all of them would take minutes; `captions` says how many. Both run in this
process, one after the other, on the same captions, and must agree on the names that are found in plain text.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import time
from pathlib import Path

from capwright.evaluation import evaluate, prepare_scorers
from capwright.scorers import TTS, Corpus, Item
from capwright.types import Sample, Term, Vocabulary
from results_file import write_results

SYLLABLES = [first + second for first in "bdgklmnprstvz" for second in "aeiou"]
FILLER = ["a", "the", "child", "with", "two", "small", "red", "on", "left", "right", "near", "table", "and", "is"]


def make_vocabulary(rng: random.Random, count: int) -> Vocabulary:
    """Made-up names of one to three words, no name part of another."""
    words = list({"".join(rng.choices(SYLLABLES, k=4)) for _ in range(4 * count)})
    words.sort()
    rng.shuffle(words)
    names: list[str] = []
    while len(names) < count:
        names.append(" ".join(words.pop() for _ in range(rng.choice([1, 1, 2, 2, 3]))))
    kinds = [f"kind{i}" for i in range(20)]
    return Vocabulary({name: Term(name, category=rng.choice(kinds), tier=rng.choice("abc")) for name in names})


def make_items(rng: random.Random, vocabulary: Vocabulary, count: int, images: int) -> list[Item]:
    """Captions of about 35 words; each names three terms of which about two are annotated."""
    terms = list(vocabulary.values())
    samples = [Sample(f"s{i}", Path("x.png"), terms=tuple(rng.sample(terms, 3))) for i in range(images)]
    items = []
    for number in range(count):
        sample = samples[number % images]
        said = [*rng.sample(sample.terms, 2), rng.choice(terms)]
        words = rng.choices(FILLER, k=30)
        for term in said:
            words.insert(rng.randrange(len(words)), term.name + rng.choice(["", "s", "."]))
        items.append(Item(sample, " ".join(words).capitalize() + "."))
    return items


def search_each_term(patterns: list[tuple[str, re.Pattern[str]]], items: list[Item]) -> list[set[str]]:
    """The peer: names found in each caption."""
    found = []
    for item in items:
        text = item.caption.lower()
        found.append({name for name, pattern in patterns if pattern.search(text)})
    return found


def search_each_substring(names: list[str], items: list[Item]) -> list[set[str]]:
    """A second peer, the fastest loop and a wrong one ("cat" is in "category")."""
    return [{name for name in names if name in text} for text in (item.caption.lower() for item in items)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="a tenth of the captions")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    count = 10_000 if args.quick else 100_000
    vocabulary = make_vocabulary(rng, 1000)
    items = make_items(rng, vocabulary, count, images=count)
    plain = items[: count // 50]

    started = time.perf_counter()
    scorer = TTS()
    context = scorer.prepare(Corpus([item.sample for item in items], vocabulary))
    prepared = time.perf_counter() - started
    started = time.perf_counter()
    stats = scorer.stats(items, context)
    scorer.finalize(stats.rows.sum(0))
    ours = time.perf_counter() - started

    patterns = [(name, re.compile(rf"\b{re.escape(name)}s?\b")) for name in vocabulary]
    started = time.perf_counter()
    found = search_each_term(patterns, plain)
    peer = time.perf_counter() - started
    started = time.perf_counter()
    search_each_substring(list(vocabulary), plain)
    substring = time.perf_counter() - started
    said = [{span.term for span in (evidence or {})["spans"]} for evidence in stats.evidence[: len(plain)]]
    assert [names & set(vocabulary) for names in said] == found, "the two disagree"

    captions = {item.sample.id: item.caption for item in items}
    samples = [item.sample for item in items]
    ready = prepare_scorers(samples, ["tts"], vocabulary)
    started = time.perf_counter()
    evaluate(samples, captions, ready)
    evaluated = time.perf_counter() - started

    rate, peer_rate, substring_rate = count / ours, len(plain) / peer, len(plain) / substring
    rows = [
        row("tts", count, ours, rate) | {"prepare_seconds": round(prepared, 3)},
        row("regex per term", len(plain), peer, peer_rate) | {"speedup": rate / peer_rate},
        row("substring per term", len(plain), substring, substring_rate) | {"speedup": rate / substring_rate},
        row("tts, with intervals", count, evaluated, count / evaluated),
    ]
    print(f"{'what':32}{'captions':>10}{'seconds':>10}{'captions/s':>12}{'speedup of tts':>16}")
    for r in rows:
        line = f"{r['what']:32}{r['captions']:>10}{r['seconds']:>10}{r['captions_per_second']:>12}"
        print(line + (f"{r['speedup']:>16.1f}" if "speedup" in r else ""))
    if args.json:
        write_results(args.json, rows, seeds=[args.seed])


def row(what: str, captions: int, seconds: float, rate: float) -> dict[str, object]:
    """A flat record. `peak_mb` is the largest resident size of this process so far."""
    return {
        "what": what,
        "captions": captions,
        "terms": 1000,
        "seconds": round(seconds, 3),
        "captions_per_second": round(rate),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
