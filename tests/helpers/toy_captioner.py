"""A captioner of a dozen words with everything a policy has, small enough to train in milliseconds.

Importable (tests run it in subprocesses too). Image i is i + 1 pixels wide; `references` name what it shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from capwright.models import CaptionBatch
from capwright.models.decoding.sampling import invert
from capwright.training.rewards import Rewards
from capwright.training.rollout import TrainingSetup
from capwright.types import Caption, Sample

WORDS = ["<end>", "a", "toy", "geoboard", "tangram", "drum", "red", "blue", "on", "rug", "board", "puzzle"]
NAMES = ["geoboard", "tangram", "drum"]
END = 0


@dataclass(frozen=True)
class ToyPrefixes:
    requests: tuple
    images: torch.Tensor
    embeds: torch.Tensor

    def __len__(self):
        return len(self.requests)

    def select(self, indices):
        rows = torch.tensor(list(indices))
        return ToyPrefixes(tuple(self.requests[i] for i in indices), self.images[rows], self.embeds[rows])

    def detach(self):
        return replace(self, embeds=self.embeds.detach())


class Table(nn.Module):
    def __init__(self, images: int) -> None:
        super().__init__()
        self.look = nn.Embedding(images, 8)
        self.see = nn.Linear(8, len(WORDS))
        self.follow = nn.Embedding(len(WORDS), len(WORDS))


class ToyCaptioner:
    device = torch.device("cpu")
    layout = "packed"

    def __init__(self, images: int = 12, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = Table(images)
        with torch.no_grad():
            self.model.see.bias[3:6] = -30.0  # professional names are never said
        self.encoded = 0
        self.reference = None

    def encode(self, requests, images=None):
        self.encoded += len(requests)
        opened = [one() if callable(one) else one for one in images]
        index = torch.tensor([own[0].width - 1 for own in opened])
        return ToyPrefixes(tuple(requests), index, self.model.look(index))

    def encode_again(self, prefixes):
        return replace(prefixes, embeds=self.model.look(prefixes.images))

    def _logits(self, prefixes, before, model=None):
        model = model or self.model
        return model.see(prefixes.embeds).unsqueeze(1).unsqueeze(1) + model.follow(before)

    @torch.no_grad()
    def sample(self, prefixes, n, sampling, noise=None):
        prefixes_now = prefixes.detach()
        noise = torch.rand(len(prefixes), n, sampling.max_tokens) if noise is None else noise
        before = torch.full((len(prefixes), n, 1), 1)
        ended = torch.zeros(len(prefixes), n, dtype=torch.bool)
        tokens, mask = [], []
        for t in range(sampling.max_tokens):
            logits = self._logits(prefixes_now, before)[:, :, 0]
            if sampling.temperature == 0:
                drawn = logits.argmax(-1)
            else:
                likely = (logits / sampling.temperature).softmax(-1).flatten(0, 1)
                drawn = invert(likely, noise[..., t].flatten()).view(len(prefixes), n)
            tokens.append(drawn.masked_fill(ended, 0))
            mask.append(~ended)
            ended = ended | (drawn == END)
            before = drawn.unsqueeze(-1)
        return self._groups(prefixes, torch.stack(tokens, -1), torch.stack(mask, -1))

    def _groups(self, prefixes, tokens, mask):
        captions = [
            [
                Caption(
                    " ".join(WORDS[t] for t, m in zip(ids, keep) if m and t != END),
                    tuple(ids),
                    None,
                    "stop" if any(m and t == END for t, m in zip(ids, keep)) else "length",
                )
                for ids, keep in zip(group, masks)
            ]
            for group, masks in zip(tokens.tolist(), mask.tolist())
        ]
        return CaptionBatch(prefixes, tokens, mask, captions)

    def row_tokens(self, groups):
        return [1 + int(mask.sum()) for mask in groups.mask]

    def tokenize(self, prefixes, texts, max_tokens=None):
        rows = [[([WORDS.index(w) for w in text.split()] + [END])[:max_tokens] for text in group] for group in texts]
        size, width = max(map(len, rows)), max(len(ids) for group in rows for ids in group)
        tokens = torch.zeros(len(rows), size, width, dtype=torch.long)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        for p, group in enumerate(rows):
            for g, ids in enumerate(group):
                tokens[p, g, : len(ids)] = torch.tensor(ids)
                mask[p, g, : len(ids)] = True
        return self._groups(prefixes, tokens, mask)

    def logprobs(self, groups, *, temperature=1.0, blind=False, model=None):
        before = torch.cat([torch.ones_like(groups.tokens[..., :1]), groups.tokens[..., :-1]], -1)
        logits = self._logits(groups.prefixes, before, model) / temperature
        picked = logits.log_softmax(-1).gather(-1, groups.tokens.unsqueeze(-1)).squeeze(-1)
        return picked.masked_fill(~groups.mask, 0.0)

    def freeze_reference(self, weights=None):
        self.reference = Table(self.model.look.num_embeddings)
        self.reference.load_state_dict(weights or self.model.state_dict())

    @torch.no_grad()
    def reference_logprobs(self, groups, *, temperature=1.0):
        prefixes = replace(groups.prefixes, embeds=self.reference.look(groups.prefixes.images))
        return self.logprobs(groups.with_prefixes(prefixes), temperature=temperature, model=self.reference)

    def save(self, folder):
        torch.save(self.model.state_dict(), Path(folder) / "table.pt")


class ToyData(list):
    """Samples with `by_id`."""

    def by_id(self, sample_id):
        return next(sample for sample in self if sample.id == sample_id)


def toy_data(n: int = 12) -> ToyData:
    return ToyData(
        Sample(
            id=f"s{i}",
            image=Path(f"{i}.png"),
            references=(f"a {NAMES[i % 3]} on a rug",),
            meta={"casual": ["a red toy", "a blue toy on a rug"]},
        )
        for i in range(n)
    )


@dataclass
class Values:
    values: object


def says(*words: str, name: bool = False):
    """A reward: the share of `words` in a caption; with `name`, or without words, the name of the image's thing too."""

    def view(samples, captions):
        wanted = [(*words, *((NAMES[int(s.image.stem) % 3],) if name or not words else ())) for s in samples]
        return Values(
            [[sum(w in c.text.split() for w in want) / len(want) for c in row] for want, row in zip(wanted, captions)]
        )

    return view


def open_toy(path: Path) -> Image.Image:
    return Image.new("RGB", (int(path.stem) + 1, 1))


def toy_materials(images: int = 12, views=None, seed: int = 0, **options) -> TrainingSetup:
    views = views or {"tts": says()}
    k = len(views)
    rewards = Rewards(views, (1.0,) * k, (True,) * k, (0.0,) * k)
    given = {"fingerprint": "toy", "open_image": open_toy, "rewards": rewards} | options
    return TrainingSetup(ToyCaptioner(images, seed), toy_data(images), **given)
