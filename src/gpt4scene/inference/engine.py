"""Answers from the local model, scene by scene: the prefix once, all questions as branches of one row.

The images of a scene are computed once and stay in the key/value cache. Its questions hang off that prefix side by
side; in every step each unfinished branch grows by one token, all of them in one row under one mask. Answers equal
those of ``generate`` question by question, up to the rounding of another order of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from transformers import PreTrainedModel

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.packs import make_pack, pack_pixels
from gpt4scene.data.positions import sample_positions
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError
from gpt4scene.files.contents import Contents
from gpt4scene.inference.cache import RowCache
from gpt4scene.inference.decoding import GenerationSettings, choose, generator_of, penalise
from gpt4scene.inference.weights import Mark, weights_mark
from gpt4scene.model.attention import PREFIX, KeyMask, require
from gpt4scene.model.inputs import normalise
from gpt4scene.types import Answer, EncodedSample, Pack, Question

BRANCH_LIMIT = 128
"""Questions that are answered side by side; more take turns on the same prefix."""


VisitKey = tuple[tuple[str, ...], VisionRule, bytes]


@dataclass(frozen=True)
class Visit:
    """Questions that share a prefix, encoded. ``contents`` are the hashes of their images, ``rule`` what they become.

    ``pixels`` are None where the engine had the prefix when the questions were prepared.
    """

    questions: tuple[Question, ...]
    pack: Pack
    contents: tuple[str, ...]
    rule: VisionRule
    pixels: np.ndarray | None

    @property
    def key(self) -> VisitKey:
        """What two visits must have in common to share a prefix."""
        return self.contents, self.rule, self.pack.prefix_P.tobytes()


@dataclass
class _Branch:
    """One question while it is answered. ``position`` is that of its last token on all three rows."""

    question: Question
    owner: int
    position: int
    generator: torch.Generator
    seen_V: torch.Tensor | None
    tokens: list[int] = field(default_factory=list)


class Engine:
    """Answers questions about scenes with a model on this machine.

    Args:
        model: with the pack attention (``model.loading.load_model``), on the device that is to compute.
        encoder: of the same checkpoint.
        branch_limit: questions side by side; memory grows with it, answers do not change.
    """

    def __init__(self, model: PreTrainedModel, encoder: Encoder, branch_limit: int = BRANCH_LIMIT) -> None:
        if branch_limit < 1:
            raise ValueError(f"branch_limit must be at least 1, found {branch_limit}")
        require(model)
        self.model, self.encoder, self.branch_limit = model.eval(), encoder, branch_limit
        self.device: torch.device = model.device
        stops = model.generation_config.eos_token_id
        stops = [encoder.tokenizer.eos_token_id] if stops is None else [stops] if isinstance(stops, int) else stops
        self.stops = frozenset(stop for stop in stops if stop is not None)
        self._cache = RowCache()
        self._cached: tuple[VisitKey, Mark] | None = None
        self._contents = Contents()
        self._pictures: dict[str, str] = {}
        self._next_position = 0
        self._turn = 0

    def answer(self, questions: Sequence[Question], settings: GenerationSettings | None = None) -> Iterator[Answer]:
        """Yield the answers to questions, each as soon as it is complete.

        Questions with the same images should come together; the prefix of the last scene stays cached, so that a
        further question about it costs only its own tokens. Images that were replaced and weights that changed since
        are noticed, and the prefix computed again.
        """
        yield from self._visits(self.prepare(questions), settings or GenerationSettings())

    def answer_scenes(
        self, scenes: Iterable[Sequence[Question]], settings: GenerationSettings | None = None
    ) -> Iterator[Iterator[Answer]]:
        """Yield an iterator of answers for each scene; the next scene's images are decoded meanwhile.

        An error in a scene's files is raised when that scene's turn comes.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="images") as pool:
            ahead: Future[list[Visit]] | None = None
            for scene in scenes:
                following = pool.submit(self.prepare, scene, reuse=False)
                if ahead is not None:
                    yield self._visits(ahead.result(), settings or GenerationSettings())
                ahead = following
            if ahead is not None:
                yield self._visits(ahead.result(), settings or GenerationSettings())

    def forget(self) -> None:
        """Let go of the last scene's prefix and its memory."""
        self._cache, self._cached, self._next_position = RowCache(), None, 0

    def prepare(self, questions: Sequence[Question], *, reuse: bool = True) -> list[Visit]:
        """Return the questions encoded and grouped by prefix, with pixels decoded. Touches neither model nor cache."""
        contents = self._look_at({question.images: None for question in questions})
        groups: dict[object, list[tuple[Question, EncodedSample]]] = {}
        for number, question in enumerate(questions):
            sample = self.encoder.encode_question(question)
            key = (sample.images, sample.ids_L[: sample.cut].tobytes()) if sample.cut else number
            groups.setdefault(key, []).append((question, sample))
        visits = []
        for members in groups.values():
            pack, rule = make_pack([sample for _, sample in members]), self.encoder.vision
            visit = Visit(tuple(question for question, _ in members), pack, contents[pack.images], rule, None)
            known = reuse and not visits and self._cached is not None and visit.key == self._cached[0]
            visits.append(visit if known else replace(visit, pixels=pack_pixels(pack, rule)))
        return visits

    def _look_at(self, scenes: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Return the contents of each scene's images; the encoder forgets the sizes of those that were replaced."""
        found = {images: tuple(map(self._contents, images)) for images in scenes}
        now = {path: content for images, hashes in found.items() for path, content in zip(images, hashes, strict=True)}
        if any(self._pictures.get(path, content) != content for path, content in now.items()):
            self.encoder.forget_images()
        self._pictures |= now
        return found

    def _visits(self, visits: Sequence[Visit], settings: GenerationSettings) -> Iterator[Answer]:
        """Yield the answers of all visits; another caller in between would share the cache and is an error."""
        self._turn = turn = self._turn + 1
        for visit in visits:
            self._refuse_too_long(visit, settings.max_new_tokens)
            self.model.eval()  # a training step in between leaves dropout on
            key = visit.key, weights_mark(self.model)
            if key != self._cached:
                self._fill_prefix(visit)
                self._cached = key if len(visit.pack.prefix_P) else None
            numbers = range(len(visit.questions))
            for start in range(0, len(numbers), self.branch_limit):
                for answer in self._round(visit, numbers[start : start + self.branch_limit], settings):
                    yield answer
                    if self._turn != turn:
                        raise RuntimeError("an Engine serves one caller at a time: take all answers, then ask again")

    def _refuse_too_long(self, visit: Visit, new_tokens: int) -> None:
        """Raise ``DataError`` for a question whose answer may pass the length that the model is made for."""
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for question, branch in zip(visit.questions, visit.pack.branches, strict=True):
            length = len(visit.pack.prefix_P) + len(branch.ids_L)
            if context is not None and length + new_tokens > context:
                raise DataError(
                    f"{question.task}, row {question.index}: the prompt of {length} tokens and {new_tokens} new ones "
                    f"pass the model's context of {context}; lower --image_resolution or --max_new_tokens, or show "
                    "fewer images"
                )

    def received(self) -> list[Answer]:
        """Return the answers that came and were not taken: none, since nothing is computed before it is asked for."""
        return []

    @torch.inference_mode()
    def _fill_prefix(self, visit: Visit) -> None:
        """Run the scene's images through the model and keep their keys and values."""
        pack = visit.pack
        self.forget()
        if not len(pack.prefix_P):
            return
        rule, pad = visit.rule, self.encoder.special.image_pad
        patches = pack_pixels(pack, rule) if visit.pixels is None else visit.pixels
        positions_3P = sample_positions(pack.prefix_P, pack.grids, pad, rule.merge_size)
        pixels = normalise(torch.from_numpy(patches).to(self.device), rule)
        self.model(
            input_ids=self._row(pack.prefix_P),
            position_ids=torch.from_numpy(positions_3P).to(self.device)[:, None],
            pixel_values=pixels.to(self.model.dtype),
            image_grid_thw=torch.tensor(pack.grids, device=self.device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._next_position = int(positions_3P.max()) + 1

    def _row(self, ids: Sequence[int] | np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(ids, dtype=np.int64), device=self.device)[None]

    def _round(self, visit: Visit, chosen: Sequence[int], settings: GenerationSettings) -> Iterator[Answer]:
        """Answer up to ``branch_limit`` questions of a visit on the cached prefix."""
        prefix = len(visit.pack.prefix_P)
        self._cache.truncate(prefix)
        penalty = settings.repetition_penalty or self.model.generation_config.repetition_penalty or 1.0
        alive = [
            _Branch(
                question=visit.questions[index],
                owner=owner,
                position=self._next_position + len(visit.pack.branches[index].ids_L) - 1,
                generator=generator_of(visit.questions[index], settings.seed),
                seen_V=self._seen(visit.pack, index) if penalty != 1.0 else None,
            )
            for owner, index in enumerate(chosen)
        ]
        scores_KV, key_owners = self._fill_branches(visit.pack, chosen)
        for step in range(settings.max_new_tokens):
            following = self._choose(alive, scores_KV, settings, penalty)
            going = []
            for branch, token in zip(alive, following, strict=True):
                branch.tokens.append(token)
                if token in self.stops or step + 1 == settings.max_new_tokens:
                    yield self._finished(branch)
                else:
                    going.append(branch)
            alive = going
            if not alive:
                return
            key_owners = self._drop_finished(key_owners, alive, prefix)
            scores_KV, key_owners = self._step(alive, key_owners)

    def _seen(self, pack: Pack, index: int) -> torch.Tensor:
        seen_V = torch.zeros(self.model.config.get_text_config().vocab_size, dtype=torch.bool, device=self.device)
        seen_V[self._row(pack.prefix_P)[0]] = True
        seen_V[self._row(pack.branches[index].ids_L)[0]] = True
        return seen_V

    def _choose(
        self, alive: list[_Branch], scores_KV: torch.Tensor, settings: GenerationSettings, penalty: float
    ) -> list[int]:
        if penalty != 1.0:
            seen = [branch.seen_V for branch in alive if branch.seen_V is not None]
            scores_KV = penalise(scores_KV, torch.stack(seen), penalty)
        tokens = choose(scores_KV, settings, [branch.generator for branch in alive]).tolist()
        for branch, token in zip(alive, tokens, strict=True):
            if branch.seen_V is not None:
                branch.seen_V[token] = True
        return tokens

    def _finished(self, branch: _Branch) -> Answer:
        decode = self.encoder.tokenizer.decode
        text = decode(branch.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # one row of tokens, one text
        reason = "stop" if branch.tokens[-1] in self.stops else "length"
        return Answer(branch.question, text, len(branch.tokens), reason)

    @torch.inference_mode()
    def _fill_branches(self, pack: Pack, chosen: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the questions behind the prefix; return scores ``[K, V]`` after each and the owner of every key."""
        ids = [pack.branches[index].ids_L for index in chosen]
        lengths = [len(part) for part in ids]
        owners = torch.from_numpy(np.repeat(np.arange(len(ids)), lengths)).to(self.device)
        prefix = torch.full((len(pack.prefix_P),), PREFIX, dtype=owners.dtype, device=self.device)
        key_owners = torch.cat([prefix, owners])
        positions = np.concatenate([np.arange(length) for length in lengths]) + self._next_position
        last = torch.from_numpy(np.cumsum(lengths) - 1).to(self.device)
        return self._forward(np.concatenate(ids), positions, owners, key_owners, last), key_owners

    @torch.inference_mode()
    def _step(self, alive: list[_Branch], key_owners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the last token of every unfinished branch; return the next scores and the owner of every key."""
        for branch in alive:
            branch.position += 1
        owners = torch.tensor([branch.owner for branch in alive], device=self.device)
        key_owners = torch.cat([key_owners, owners])
        ids = [branch.tokens[-1] for branch in alive]
        positions = np.array([branch.position for branch in alive])
        return self._forward(ids, positions, owners, key_owners, 0), key_owners

    def _forward(
        self,
        ids: Sequence[int] | np.ndarray,
        positions: np.ndarray,
        owners: torch.Tensor,
        key_owners: torch.Tensor,
        kept: torch.Tensor | int,
    ) -> torch.Tensor:
        """Append branch tokens to the row and return fp32 scores at ``kept`` (0: at all of them)."""
        logits = self.model(
            input_ids=self._row(ids),
            position_ids=self._row(positions)[None].expand(3, 1, -1),
            past_key_values=self._cache,
            use_cache=True,
            layout=KeyMask.build(owners, key_owners),
            logits_to_keep=kept,
        ).logits
        return logits[0].float()

    def _drop_finished(self, key_owners: torch.Tensor, alive: list[_Branch], prefix: int) -> torch.Tensor:
        """Close the gaps in the cache once finished branches hold over half of the keys behind the prefix."""
        live = torch.isin(key_owners[prefix:], torch.tensor([branch.owner for branch in alive], device=self.device))
        if int(live.sum()) * 2 > len(live):
            return key_owners
        kept = prefix + live.nonzero()[:, 0]
        with torch.inference_mode():
            self._cache.keep(prefix, kept)
        return torch.cat([key_owners[:prefix], key_owners[kept]])
