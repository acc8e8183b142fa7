"""A run folder with built-in scenes and invented captions, to look at the report without training anything.

Run `python tests/helpers/fake_run.py OUT` for a page to open in a browser.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path

from capwright.scenes.building import to_sample
from capwright.scenes.drawing import draw
from capwright.scenes.lexicon import vocabulary
from capwright.scenes.sampling import sample_scene
from capwright.types import Sample

#: How often each invented system says the name of a tier.
SAYS = {
    "base": {"frequent": 0.3, "common": 0.12, "occasional": 0.05, "rare": 0.02, "never": 0.0},
    "warmup": {"frequent": 0.34, "common": 0.1, "occasional": 0.06, "rare": 0.01, "never": 0.0},
    "rsrs": {"frequent": 0.86, "common": 0.78, "occasional": 0.7, "rare": 0.6, "never": 0.48},
}


SIGNATURE = "tts|v:1|terms:45|vocab:3f2a0c1d|levels:1/.5/.25|match:longest,plural|ci:jackknife|unit:image"


def fake_samples(folder: Path, n: int = 60, seed: int = 7, size: int = 160) -> list[Sample]:
    """Scenes of the built-in kindergarten with their images in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for index in range(n):
        scene, path = sample_scene(seed, index), folder / f"{index}.png"
        draw(scene, size).save(path)
        samples.append(to_sample(scene, path, size))
    return samples


def fake_caption(sample: Sample, says: dict[str, float], rng: random.Random) -> str:
    """The expert's caption with the names that this system does not know replaced by generic or wrong ones."""
    text = sample.references[0]
    names = [term for term in vocabulary().values() if term.level == "professional"]
    for term in sample.terms:
        if rng.random() < says.get(term.tier, 0.5):
            continue
        kin = [other.name for other in names if other.category == term.category and other.name != term.name]
        other = rng.choice(kin) if kin and rng.random() < 0.3 else term.category or "toy"
        for form in (*term.plurals, term.name + "s", term.name):
            text = text.replace(form, other)
    return text


def fake_run(root: Path, n: int = 60, seed: int = 7, size: int = 160) -> list[Sample]:
    """Write summary.json, metrics.jsonl, captions/ and recipe.yaml to `root`; return the samples."""
    samples = fake_samples(root / "images", n, seed, size)
    (root / "captions").mkdir(parents=True, exist_ok=True)
    for system, says in SAYS.items():
        rng = random.Random(f"{seed}/{system}")
        rows = [{"id": s.id, "caption": fake_caption(s, says, rng), "status": "ok", "finish": "stop"} for s in samples]
        if system == "warmup":
            rows[3] = {"id": samples[3].id, "caption": "", "status": "timeout", "finish": "stop"}
        write_rows(root / "captions" / f"{system}.jsonl", rows)
    write_rows(root / "metrics.jsonl", fake_journal(seed))
    (root / "summary.json").write_text(json.dumps(fake_summary(n), indent=1))
    (root / "recipe.yaml").write_text(
        "name: rsrs-scenes\nseed: 7\nmodel: {name: embedded}\nstages:\n- {name: warmup, kind: sft, steps: 120}\n"
        "- {name: rsrs, kind: rl, steps: 240, images_per_step: 16, captions_per_image: 8, on_failed: imitate}\n"
    )
    return samples


def fake_summary(n: int) -> dict:
    """Scores as an evaluation would write them."""

    def near(value: float, spread: float) -> dict:
        return {"value": value, "low": max(value - spread, 0), "high": min(value + spread, 100)}

    def part(micro: float, precision: float, tiers: list[float], words: float) -> dict:
        names = ("frequent", "common", "occasional", "rare", "never")
        tts = {
            "micro": near(micro, 3.1),
            "macro": near(micro + 0.8, 3.3),
            "weighted": near(50 + micro / 2, 2.0),
            "precision": near(precision, 4.2),
            "by_tier": {tier: near(value, 5.0) for tier, value in zip(names, tiers)},
        }
        return {"tts": tts, "length": {"words": near(words, 0.3)}, "seconds": 12.5, "samples": n}

    return {
        "base": part(11.2, 62.0, [31.0, 12.1, 5.2, 1.6, 0.0], 14.2),
        "warmup": part(11.9, 63.5, [33.4, 10.9, 6.3, 1.1, 0.0], 14.6),
        "rsrs": part(68.3, 91.2, [86.5, 77.9, 69.6, 61.2, 48.1], 15.3),
        "comparisons": [
            versus("warmup", "rsrs", "tts.micro", 56.4, 3.7, 0.0005),
            versus("base", "rsrs", "tts.micro", 57.1, 3.6, 0.0005),
            versus("base", "warmup", "tts.micro", 0.7, 2.1, 0.51),
            versus("base", "rsrs", "length.words", 1.1, 0.4, 0.001),
        ],
        "signatures": {"tts": SIGNATURE},
        "run": {"seed": 7, "model": "embedded", "versions": {"capwright": "0.1.0", "torch": "2.6.0"}, "split": "test"},
    }


def versus(a: str, b: str, score: str, difference: float, spread: float, p: float) -> dict:
    """A paired comparison as an evaluation would write it."""
    ends = {"low": difference - spread, "high": difference + spread}
    return {"a": a, "b": b, "score": score, "difference": difference, **ends, "p": p}


def fake_journal(seed: int) -> list[dict]:
    """A warm-up of 120 steps and 240 steps of RSRS, with probes."""
    rng, rows, seen = random.Random(seed), [], 0
    for step in range(1, 121):
        seen += 16
        rows.append({"kind": "step", "stage": "warmup", "step": step, "images_seen": seen, "loss_imitation": 1 / step})
        if step % 60 == 0:
            rows.append(probe("warmup", step, seen, 11 + step / 200, 0.0))
    for step in range(1, 241):
        seen += 16
        gain = 1 - math.exp(-step / 90)
        reward = 0.12 + 0.56 * gain + rng.gauss(0, 0.035)
        saturated = min(round(16 * (0.02 + 0.42 * gain)), 16)
        failed = min(max(round(16 * (0.62 - 0.52 * gain) + rng.gauss(0, 1)), 0), 16 - saturated)
        rows.append(
            {
                "kind": "step",
                "stage": "rsrs",
                "step": step,
                "images_seen": seen,
                "reward": {"tts": reward},
                "spread": {"tts": 0.1},
                "groups": {"live": 16 - saturated - failed, "failed": failed, "saturated": saturated, "unknown": 0},
                "imitated": 16 if step % (3 + step // 25) == 0 else 0,
            }
        )
        if step % 40 == 0:
            rows.append(probe("rsrs", step, seen, 12 + 58 * gain, 52 * max(gain - 0.1, 0)))
    return rows


def probe(stage: str, step: int, seen: int, micro: float, never: float) -> dict:
    scores = {"tts": {"micro": micro, "by_tier": {"frequent": 80.0, "never": never}}}
    return {"kind": "eval", "stage": stage, "step": step, "images_seen": seen, "scores": scores}


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    from capwright.report import write_report

    out = Path(sys.argv[1])
    made = fake_run(out, n=200)
    print(write_report(out, made, title="Kindergarten demo", vocabulary=vocabulary(), things="teaching toys"))
