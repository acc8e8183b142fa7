"""A policy over any Hugging Face image-text-to-text model: encode once, sample many, score them in one packed pass."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capwright.console import first_line
from capwright.data import load_image
from capwright.models.batch import CaptionBatch, EncodedPrompts
from capwright.models.decoding import sampling as decoding
from capwright.models.decoding.kv_cache import Packed, Repeated
from capwright.models.decoding.sampling import GeneratedTokens, generate
from capwright.models.decoding.strategies import DecodingStrategy, combined, strategy_of
from capwright.models.features import FeatureCache, intercept
from capwright.models.lm_head import Head
from capwright.models.packing import Packing, as_attention, block_mask, pack, packed_mask, packed_positions, predictors
from capwright.models.processor import TOKEN_KEYS, ImageInput, PromptProcessor, collate
from capwright.models.reference import ReferenceWeights
from capwright.types import Caption, ModelError, Request, SamplingParams

#: Arguments of language models that belong to the image (Qwen3-VL adds visual features in its lower layers).
PREFIX_EXTRAS = ("visual_pos_masks", "deepstack_visual_embeds")

log = logging.getLogger("capwright")


class HFPolicy:
    """A captioner that can be trained.

    Args:
        model: an image-text-to-text model, possibly wrapped by PEFT.
        prompt_processor: makes its inputs.
        layout: "packed" (captions share their prefix in one sequence) or "repeated" (every caption has its own copy of
            image and prompt; slower, right for every model). `capwright.models.load_policy` finds out which is exact.

    Attributes:
        cache: set one, and no image is decoded, processed or sent through a frozen tower twice while it fits. It
            knows samples by id, paths and prompt: one sample must always come with the same images.
    """

    def __init__(self, model: Any, prompt_processor: PromptProcessor, layout: str = "packed") -> None:
        self.model = model
        self.prompt_processor = prompt_processor
        self.tokenizer = prompt_processor.tokenizer
        self.layout = layout
        self.inner = model.get_base_model() if hasattr(model, "peft_config") else model
        self.decoder = self.inner.get_decoder()
        self.cache: FeatureCache | None = None
        self._reference: ReferenceWeights | None = None
        self._learner: Callable[..., Any] = self.decoder
        self.eos_ids = torch.as_tensor(self._end_tokens())
        text = self.inner.config.get_text_config()
        head, softcap = self.inner.get_output_embeddings(), getattr(text, "final_logit_softcapping", None)
        self.head = Head(head, head.out_features, self._banned_token_ids(), softcap)

    @property
    def device(self) -> torch.device:
        return self.decoder.get_input_embeddings().weight.device

    def _end_tokens(self) -> list[int]:
        """Ids of all tokens that end a caption. First of all the one that ends a turn in the chat template, because
        that is what the model was taught to say, and what a given caption ends with.
        """
        own = self.inner.generation_config.eos_token_id
        ends = [own] if isinstance(own, int) else list(own or ())
        if (other := self.tokenizer.eos_token_id) is not None and other not in ends:
            if ends:
                *names, last = self.tokenizer.convert_ids_to_tokens([*ends, other])
                log.warning("generation_config.json ends captions with %s, the tokenizer with %s: both do", names, last)
            ends.append(int(other))
        if not ends:
            raise ModelError("the model has no end token: set eos_token_id in its generation_config.json")
        turn = self.prompt_processor.turn_end(ends)
        return sorted(ends, key=lambda end: end != turn)

    def _banned_token_ids(self) -> Tensor:
        """Image, padding and other placeholder tokens: all that is special, but for the end tokens."""
        added = self.tokenizer.added_tokens_decoder
        never = set(self.tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}
        config = self.inner.config
        for name in ("image_token_id", "image_token_index", "video_token_id", "boi_token_id", "eoi_token_id"):
            if isinstance(token := getattr(config, name, None), int):
                never.add(token)
        rows = self.inner.get_output_embeddings().out_features
        never |= set(range(max(self.tokenizer.get_vocab().values()) + 1, rows))  # they only round the matrix up
        return torch.tensor(sorted(never - set(self.eos_ids.tolist())), dtype=torch.long)

    # encode ---------------------------------------------------------------------------------------------------------

    def encode(
        self,
        requests: Sequence[Request],
        images: Sequence[ImageInput | Callable[[], ImageInput]] | None = None,
        blind: bool = False,
    ) -> EncodedPrompts:
        """Runs every image through the vision tower once and returns what the language model will see.

        Differentiable when gradients are on, so a trained vision tower needs no second pass for the loss.

        Args:
            images: for each request its decoded image, or its images, or a function that returns them; otherwise
                they are read from the requests' samples. With a `cache`, only those it does not know are asked for.
            blind: leave the images out: the prompt alone.
        Raises:
            ImageError: an image cannot be read. ModelError: the model does not accept it.
        """
        if blind:
            images = [None] * len(requests)
        elif images is None:
            images = [partial(self._read, request) for request in requests]
        rows = [self._inputs(request, image) for request, image in zip(requests, images, strict=True)]
        return self._embed(requests, rows)

    def _read(self, request: Request) -> ImageInput:
        return [load_image(path, self.prompt_processor.max_pixels) for path in request.sample.images]

    def _inputs(self, request: Request, image: ImageInput | Callable[[], ImageInput]) -> dict[str, Tensor]:
        def make() -> dict[str, Tensor]:
            return self.prompt_processor.prepare(request, image() if callable(image) else image)

        return make() if self.cache is None or image is None else self.cache.inputs(self._key(request), make)

    def _key(self, request: Request) -> tuple[Any, ...]:
        return request.sample.id, request.sample.images, request.prompt or self.prompt_processor.prompt

    def encode_again(self, prefixes: EncodedPrompts) -> EncodedPrompts:
        """Fresh prefixes for today's weights; nothing is decoded or processed again."""
        return self._embed(prefixes.requests, prefixes.inputs)

    def _embed(self, requests: Sequence[Request], rows: Sequence[dict[str, Tensor]]) -> EncodedPrompts:
        batch = self._batch(rows)
        with self._cached_tower(requests, rows):
            reached = self._language_arguments(batch)
        embeds, mask = reached["inputs_embeds"], batch["attention_mask"].bool()
        if embeds is None:
            embeds = self.inner.get_input_embeddings()(batch["input_ids"])
        positions = reached.get("position_ids")
        if positions is None or positions.shape[-2] != len(rows):
            positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        attention = reached.get("attention_mask")
        if not isinstance(attention, dict) and getattr(attention, "ndim", 0) != 4:
            attention = None  # the plain one: `mask`
        extras = {name: reached[name] for name in PREFIX_EXTRAS if reached.get(name) is not None}
        return EncodedPrompts(tuple(requests), tuple(rows), embeds, mask, positions, attention, extras or None)

    def _cached_tower(self, requests: Sequence[Request], rows: Sequence[dict[str, Tensor]]) -> Any:
        """Inside, the vision tower answers from the cache where there is one and it can."""
        if self.cache is None:
            return contextlib.nullcontext()
        tower = self.inner.get_encoder(modality="image")
        return self.cache.instead_of(tower, [self._key(request) for request in requests], rows, self._look)

    @torch.no_grad()
    def _look(self, rows: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        with self.evaluating():
            return self._language_arguments(self._batch(rows))

    def _language_arguments(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        """What the model hands to its language model for these inputs; the language model itself does not run."""
        register = partial(self.decoder.register_forward_pre_hook, with_kwargs=True)
        try:
            reached = intercept(register, lambda: self.inner(**batch, use_cache=False))
        except (ValueError, IndexError, KeyError, TypeError) as error:
            why = f"{first_line(error)}; do config.json and the files of its processor belong together?"
            raise ModelError(f"{type(self.inner).__name__} does not take its own inputs: {why}") from error
        if reached is None:
            raise ModelError(f"{type(self.inner).__name__} does not call its language model; it cannot be a policy")
        _, args, arguments = reached
        return arguments | ({"input_ids": args[0]} if args else {})

    def _batch(self, rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        weight, batch = self.decoder.get_input_embeddings().weight, collate(rows, self.tokenizer.pad_token_id or 0)
        return {k: v.to(self.device, weight.dtype if v.is_floating_point() else None) for k, v in batch.items()}

    # sample ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        prefixes: EncodedPrompts,
        n: int,
        sampling: SamplingParams,
        noise: Tensor | None = None,
        strategy: DecodingStrategy | None = None,
    ) -> CaptionBatch:
        """Draws `n` captions for every image from one prefill an image.

        What is said about an image does not depend on the images beside it, up to float rounding.

        Args:
            noise: uniform numbers [P, n, at least `sampling.max_tokens`] in [0, 1), one a token. When None, they are
                made from `sampling.seed` and the sample ids (the global generator where there is no seed).
            strategy: which prompts there are, and how their logits become those that tokens are drawn from; None for
                what `sampling` asks for. `logprob` and `entropy` of captions are those of the combined distribution.
        Raises:
            ModelError: `noise` has another shape. RunError: see `strategy_of`.
        """
        if noise is None:
            noise = self._noise(prefixes, n, sampling)
        if noise.shape[:2] != (len(prefixes), n) or noise.shape[2] < sampling.max_tokens:
            needed = f"[{len(prefixes)}, {n}, {sampling.max_tokens} or more]"
            raise ModelError(f"noise has shape {list(noise.shape)}; these captions need {needed}")
        strategy = strategy or strategy_of(sampling)
        with self.evaluating(), self._without_flex():
            streams = [self._start(prompts, n) for prompts in strategy.prompts(prefixes.detach(), self.encode)]
            drawn = generate(
                combined(strategy, [first for first, _ in streams], 0),
                lambda *state: combined(strategy, [step(*state) for _, step in streams], state[-1]),
                self.eos_ids.to(self.device),
                sampling,
                noise.flatten(0, 1).to(self.device),
            )
        return self._groups(prefixes, n, drawn)

    def _noise(self, prefixes: EncodedPrompts, n: int, sampling: SamplingParams) -> Tensor:
        """One key a request: its sample, and how often this sample came before in the batch."""
        if sampling.seed is None:
            return torch.rand(len(prefixes), n, sampling.max_tokens)
        ids = [request.sample.id for request in prefixes.requests]
        keys = [f"{sampling.seed}/{name}/{ids[:i].count(name)}" for i, name in enumerate(ids)]
        return decoding.uniform_noise(keys, n, sampling.max_tokens)

    def _start(self, prefixes: EncodedPrompts, n: int) -> tuple[Tensor, Callable[[Tensor, Tensor, int], Tensor]]:
        """Prefill, once an image: the first logits [P*n, V] and the function that continues; see `generate`."""
        attention = prefixes.attention if prefixes.attention is not None else prefixes.mask.long()
        out = self.decoder(
            inputs_embeds=prefixes.embeds,
            attention_mask=attention,
            position_ids=prefixes.positions,
            use_cache=True,
            **(prefixes.extras or {}),
        )
        go_on = Packed if self.layout == "packed" else Repeated
        step = go_on(self.decoder, self.inner.get_input_embeddings(), prefixes, n, out.past_key_values)
        first = self.head.logits(out.last_hidden_state[:, -1].repeat_interleave(n, dim=0))
        return first, lambda *state: self.head.logits(step(*state))

    def tokenize(
        self, prefixes: EncodedPrompts, texts: Sequence[Sequence[str]], max_tokens: int | None = None
    ) -> CaptionBatch:
        """Given captions as groups: what imitation learns from. An end token is appended to each.

        Groups may differ in size; missing captions are empty and masked. Longer captions than `max_tokens` are cut and
        end without an end token (finish "length"). Special tokens inside a caption are read as plain text.
        """
        end = int(self.eos_ids[0])

        def given(text: str) -> Caption:
            ids = (*self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids, end)
            return Caption(text, ids[:max_tokens], None, "length" if max_tokens and len(ids) > max_tokens else "stop")

        captions = [[given(text) for text in group] for group in texts]
        width = max((len(caption.tokens) for group in captions for caption in group), default=1)
        tokens = torch.zeros(len(texts), max(map(len, texts)), width, dtype=torch.long)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        for p, group in enumerate(captions):
            for g, caption in enumerate(group):
                tokens[p, g, : len(caption.tokens)] = torch.tensor(caption.tokens)
                mask[p, g, : len(caption.tokens)] = True
        return CaptionBatch(prefixes, tokens.to(self.device), mask.to(self.device), captions)

    def offsets(self, tokens: Sequence[int], text: str) -> list[tuple[int, int]]:
        """Where each token of a caption stands in its text: (first, last + 1) characters. Empty for a token
        that says nothing, such as the end token."""
        ends = self.eos_ids.tolist()
        ids = [token for token in tokens if token not in ends]
        if self.tokenizer.is_fast:
            read = self.tokenizer(
                text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
            )
            if read.input_ids == ids:
                return [*read.offset_mapping, *[(len(text), len(text))] * (len(tokens) - len(ids))]
        whole = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        shift = len(whole) - len(whole.lstrip())
        reach = [len(self.tokenizer.decode(list(tokens[:i]), skip_special_tokens=True)) for i in range(len(tokens) + 1)]
        reach = [min(max(r - shift, 0), len(text)) for r in reach]
        return list(pairwise(reach))

    def _groups(self, prefixes: EncodedPrompts, n: int, drawn: GeneratedTokens) -> CaptionBatch:
        lengths, ends = drawn.mask.sum(-1), self.eos_ids.tolist()
        ids = [tuple(row[:length]) for row, length in zip(drawn.tokens.tolist(), lengths.tolist())]
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        captions = [
            Caption(text.strip(), own, score, "stop" if own[-1] in ends else "length")
            for text, own, score in zip(texts, ids, drawn.logprobs.sum(-1).tolist())
        ]
        entropy = (drawn.entropies.sum(-1) / lengths).float()
        shape = (len(prefixes), n)
        return CaptionBatch(
            prefixes,
            drawn.tokens.view(*shape, -1),
            drawn.mask.view(*shape, -1),
            [captions[start : start + n] for start in range(0, len(captions), n)],
            entropy.view(shape),
        )

    def caption(self, requests: Sequence[Request], sampling: SamplingParams, n: int = 1) -> list[list[Caption]]:
        """`n` captions a request: `encode` and `sample` in one."""
        with torch.no_grad():
            return self.sample(self.encode(requests), n, sampling).captions

    # log-probabilities ----------------------------------------------------------------------------------------------

    def logprobs(self, groups: CaptionBatch, *, temperature: float = 1.0, blind: bool = False) -> Tensor:
        """Natural-log probability of every caption token, float32 [P, G, T], 0 where the mask is False.

        Differentiable. The distribution is the one `sample` draws from (at this temperature, before top-k and top-p):
        tokens that are never said carry no probability. `blind` scores the captions without their image.
        """
        if blind:
            groups = groups.with_prefixes(self.encode(groups.prefixes.requests, blind=True))
        hidden = self._packed(groups) if self.layout == "packed" else self._repeated(groups)
        mask = groups.mask
        values = self.head.logprobs(hidden[mask], groups.tokens[mask], temperature)
        return torch.zeros(mask.shape, dtype=torch.float32, device=mask.device).masked_scatter(mask, values.float())

    def row_tokens(self, groups: CaptionBatch) -> list[int]:
        """What each image costs in `logprobs`: tokens of the language model, without padding of its prompt."""
        _, captions, tokens = groups.tokens.shape
        prefix = groups.prefixes.mask.sum(1)
        if self.layout == "packed":
            return (prefix + groups.mask[..., 1:].sum((1, 2))).tolist()
        return (captions * (prefix + tokens)).tolist()

    def _packed(self, groups: CaptionBatch) -> Tensor:
        """Hidden states [P, G, T, D] from one sequence an image."""
        prefixes, (images, captions, tokens) = groups.prefixes, groups.tokens.shape
        packing = pack(groups.mask)
        fed = groups.tokens[..., :-1].reshape(images, -1).gather(1, packing.order)
        words = self.inner.get_input_embeddings()(fed).to(prefixes.embeds.dtype)
        out = self._learner(
            inputs_embeds=torch.cat([prefixes.embeds, words], dim=1),
            attention_mask=self._packed_attention(prefixes, packing),
            position_ids=packed_positions(prefixes.positions, prefixes.mask, packing),
            use_cache=False,
            **self._extended(prefixes, words.shape[1]),
        )
        return predictors(out.last_hidden_state, prefixes.mask.shape[1], packing, captions, tokens)

    def _packed_attention(self, prefixes: EncodedPrompts, packing: Packing) -> Any:
        own, config = prefixes.attention, self.decoder.config
        if config._attn_implementation == "flex_attention":
            return block_mask(prefixes.mask, packing)
        mask = packed_mask(prefixes.mask, packing)
        if isinstance(own, Tensor):  # a prompt whose tokens all see each other (PaliGemma)
            length = own.shape[-1]
            mask[..., :length, :length] |= own if own.dtype == torch.bool else own == 0
        return as_attention(mask, config, prefixes.embeds.dtype)

    def _extended(self, prefixes: EncodedPrompts, added: int) -> dict[str, Any]:
        """The prefix's extra arguments, said to concern none of the `added` caption tokens."""
        extras = dict(prefixes.extras or {})
        if (where := extras.get("visual_pos_masks")) is not None:
            blank = where.new_zeros(where.shape[0], added, *where.shape[2:])
            extras["visual_pos_masks"] = torch.cat([where, blank], dim=1)
        return extras

    def _repeated(self, groups: CaptionBatch) -> Tensor:
        """Hidden states [P, G, T, D] from one sequence a caption: image and prompt repeated, the whole model run."""
        images, captions, tokens = groups.tokens.shape
        rows = [row for row in groups.prefixes.inputs for _ in range(captions)]
        batch = self._batch(rows)
        flat, seen = groups.tokens.reshape(-1, tokens)[:, :-1], groups.mask.reshape(-1, tokens)[:, :-1]
        length = batch["input_ids"].shape[1]
        kinds = torch.full_like(flat, self.prompt_processor.caption_type)
        tails = {"input_ids": flat, "attention_mask": seen.long(), "token_type_ids": kinds}
        for key in TOKEN_KEYS.keys() & batch.keys():
            tail = tails.get(key, torch.zeros_like(flat))
            batch[key] = torch.cat([batch[key], tail.to(batch[key].dtype)], dim=1)
        if "image_grid_thw" not in batch and not batch["attention_mask"][:, 0].all():
            # positions that skip the padding, for models that do not work them out themselves
            batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        kept: list[Tensor] = []
        hook = self.decoder.register_forward_hook(lambda *args: kept.append(args[-1].last_hidden_state))
        try:
            with self._cached_tower([r for r in groups.prefixes.requests for _ in range(captions)], rows):
                self.inner(**batch, use_cache=False, logits_to_keep=1)
        finally:
            hook.remove()
        hidden = kept[0]
        return hidden[:, length - 1 :].reshape(images, captions, tokens, hidden.shape[-1])

    def compile(self) -> None:
        """Compiles the language model for the packed learning pass; the first pass then takes a minute longer.

        Sampling stays as it is: its shapes change with every token. Values and gradients stay too (tests); on a CPU a
        small model was not faster (0.22 s against 0.23 s a pass), on a GPU we have not measured it.
        """
        self._learner = torch.compile(self.decoder, dynamic=True)

    # reference policy, saving ---------------------------------------------------------------------------------------

    def freeze_reference(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Keeps a copy of what training changes, as it is today or in `weights`, as the reference of a KL term.

        With LoRA that is the adapter: its start is the reference, not the model without it.
        """
        self._reference = ReferenceWeights(self.model, weights)

    @torch.no_grad()
    def reference_logprobs(self, groups: CaptionBatch, *, temperature: float = 1.0) -> Tensor:
        """`logprobs` under the reference policy; no gradients. Call `freeze_reference` first.

        The reference encodes the images itself, since the trained policy may see them differently.
        """
        if self._reference is None:
            raise ModelError("there is no reference policy: call freeze_reference() before training starts")
        with self._reference.in_place(), self.evaluating():
            fresh = groups.with_prefixes(self.encode_again(groups.prefixes))
            return self.logprobs(fresh, temperature=temperature)

    def save(self, folder: str | Path, weights: dict[str, Tensor] | None = None) -> None:
        """Writes model (only the adapter, with LoRA), processor and prompt; `load_policy(folder)` reads them back.

        Args:
            weights: the whole state dictionary, where the model itself holds only a part of it (FSDP).
        """
        self.model.save_pretrained(folder, **({"state_dict": weights} if weights is not None else {}))
        self.prompt_processor.save(folder)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Dropout off, then back to whatever it was."""
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(training)

    @contextlib.contextmanager
    def _without_flex(self) -> Iterator[None]:
        """FlexAttention compiles for a shape, and in sampling no two steps have the same."""
        config = self.decoder.config
        chosen = config._attn_implementation
        if chosen == "flex_attention":
            config._attn_implementation = "sdpa"
        try:
            yield
        finally:
            config._attn_implementation = chosen
