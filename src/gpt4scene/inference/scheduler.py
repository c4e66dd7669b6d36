"""Requests in, tokens out: many questions of several scenes answered side by side.

A request waits until its images are decoded and there is room; requests with the same images share one prefix, which
is computed once. Every decoding step adds one token to each running branch, whatever scene it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from transformers import PreTrainedModel

from gpt4scene.data.encoding import Encoder
from gpt4scene.errors import DataError
from gpt4scene.inference.arrivals import Arrivals, Waiting
from gpt4scene.inference.decoding import uniforms_of
from gpt4scene.inference.forward import Network, Prefill, prefixes_of
from gpt4scene.inference.graphs import StepGraphs, on_cuda, padded_prefixes
from gpt4scene.inference.prefixes import NOTHING, PREFIX_MEMORY, Prefix, PrefixStore, memory_of
from gpt4scene.inference.preparing import Prepared
from gpt4scene.inference.sampling import BROKEN, Choice, Chosen, Sampler
from gpt4scene.inference.slots import Slots, moves_of
from gpt4scene.inference.tokens import Request, Running, Statistics, Token, stops_of
from gpt4scene.inference.weights import Mark, weights_mark
from gpt4scene.model.attention import require
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.kept_attention import Prefixes
from gpt4scene.model.tower import Tower

BRANCH_LIMIT = 128
"""Questions that are answered side by side; more wait for room."""
BRANCH_MEMORY = 4 * 2**30
"""Bytes for the branches' own keys: 128 branches of 560 tokens at 7 billion weights in bfloat16."""
FILL_TOKENS = 2**16
"""Question tokens, padded to the longest, that are run behind a prefix at once."""
PIECE_TOKENS = 2**11
"""Tokens of a scene, and of questions behind it, that are run between two steps of answers that somebody watches."""


class Scheduler:
    """Answers requests with a model on this machine. ONE thread calls all methods; nothing here is thread-safe.

    Args:
        model: with the pack attention (``model.loading.load_model``), on the device that is to compute.
        encoder: of the same checkpoint.
        branch_limit: questions side by side; memory grows with it, answers do not change.
        prefix_memory: bytes of prefixes that are kept for further questions; those of running questions always are.
        branch_memory: bytes for the branches' own keys; what does not fit waits.
        features: keeps what the vision tower makes of images, in less memory than their prefix takes.
        graphs: record steps as CUDA graphs, which pays where many follow, and not under autocast.

    Where the bytes are left out, they are 4 GiB each, or a quarter of what is free on the GPU.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encoder: Encoder,
        branch_limit: int = BRANCH_LIMIT,
        prefix_memory: int | None = None,
        branch_memory: int | None = None,
        features: FeatureCache | None = None,
        graphs: bool = True,
    ) -> None:
        if branch_limit < 1:
            raise ValueError(f"branch_limit must be at least 1, found {branch_limit}")
        require(model)
        self.model, self.encoder, self.branch_limit = model.eval(), encoder, branch_limit
        self.branch_memory = memory_of(BRANCH_MEMORY, model.device) if branch_memory is None else branch_memory
        self.stops = stops_of(model, encoder)
        self.prefixes = PrefixStore(memory_of(PREFIX_MEMORY, model.device) if prefix_memory is None else prefix_memory)
        self.tower = Tower(model, encoder.vision, cache=features)
        self.arrivals = Arrivals(encoder, self._knows_images)
        self._network = Network(model, self.tower)
        most_keys = self.branch_memory // self._network.token_bytes
        self._slots = Slots(branch_limit, model.device, most_keys, self._network.carried_keys)
        self._sampler = Sampler(branch_limit, model.config.get_text_config().vocab_size, model.device)
        graphs = graphs and model.device.type == "cuda"
        self._graphs = StepGraphs(self._network.step, on_cuda(model.device)) if graphs else None
        self._mark: Mark | None = None
        self._running: list[Running] = []
        self._parts: Prefixes | None = None
        self._prefill: Prefill | None = None
        self._owed = False  # running branches had no step since the last piece of another scene
        self._short = False  # memory ran out: nothing begins until a running branch ends
        self._most = branch_limit  # side by side; fewer where memory ran out in a step that can't be run again

    def add(self, request: Request) -> None:
        """Take a request; it waits until there is room. Encoding begins at once, in another thread."""
        if request.number in self.arrivals or any(one.request.number == request.number for one in self._running):
            raise ValueError(f"request {request.number} is already under way")
        self.arrivals.add(request)

    def cancel(self, number: int) -> None:
        """Let go of a request, waiting or running; none of its tokens comes any more. Unknown numbers are ignored."""
        self.arrivals.remove([number])
        self._drop({slot for slot, one in enumerate(self._running) if one.request.number == number})
        if self._prefill is not None and not self.arrivals.about(self._prefill.prepared.key):
            self._prefill = None

    def step(self) -> list[Token]:
        """Do one piece of work and return the tokens that it made; ``[]`` only where nothing waits or runs.

        A piece is the prefill of one waiting scene, or one decoding step of all running branches. Where one of these
        streams, a prefill is cut into pieces with a step behind each. What ends a single
        request comes as a token with an error; what this method raises ends all of them.
        """
        try:
            while True:
                if failed := self.arrivals.failed(self._check):
                    return [Token(number, BROKEN, finish_reason="error", error=error) for number, error in failed]
                if len(self.arrivals):
                    self.arrivals.look_ahead(self.prefixes)
                    visit = [] if self._owed and self._watched else self._next_visit()
                    if visit and (tokens := self._begin(visit)):
                        return tokens
                if self._running and (tokens := self._decode()):
                    return tokens
                if not len(self.arrivals):
                    return []
                self.arrivals.wait()
        except BaseException:
            self.reset()
            raise

    def reset(self) -> None:
        """Forget all requests, waiting and running, and give their memory back; prefixes stay."""
        self.arrivals.clear()
        self._running.clear()
        self._slots.release()
        self._sampler.release()
        self._parts, self._prefill, self._short, self._most = None, None, False, self.branch_limit

    def forget(self) -> None:
        """Let go of all prefixes, and of the branches' memory where none runs."""
        self.prefixes.clear()
        if not self._running:
            self._slots.release()
            self._sampler.release()

    def statistics(self) -> Statistics:
        """Return counts of prefixes; whole numbers only, so any thread may ask."""
        store = self.prefixes
        return Statistics(store.hits, store.misses, store.held, len(store))

    def close(self) -> None:
        """End the threads that encode and decode."""
        self.arrivals.close()

    @property
    def waiting(self) -> int:
        """Requests that have no token yet, and those that ran out of memory's room and wait again."""
        return len(self.arrivals)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._running)

    def _check(self, one: Waiting) -> None:
        """Raise ``DataError`` for a question whose answer may pass the length that the model is made for."""
        question, new_tokens = one.request.question, one.request.settings.max_new_tokens
        length, context = one.prepared.length, self._network.context
        if context is not None and length + new_tokens > context:
            raise DataError(
                f"{question.task}, row {question.index}: the prompt of {length} tokens and {new_tokens} new ones "
                f"pass the model's context of {context}; lower --image_resolution or --max_new_tokens, or show "
                "fewer images"
            )

    def _next_visit(self) -> list[Waiting]:
        """Return the requests to begin with now: those that share the first ready scene, as many as there is room for.

        Where branches run, a few late places are not filled one by one: each filling holds all of them up.
        """
        if self._short and self._running:
            return []
        if self._prefill is not None:
            group = self.arrivals.about(self._prefill.prepared.key)
        else:
            group = self.arrivals.first_ready(self.prefixes, self.branch_limit)
        if not group or not self._fits(group[0]):
            return []
        chosen: list[Waiting] = []
        rooms = [one.room for one in self._running]
        for one in group[: max(0, self._most - len(self._running))]:
            rooms.append(one.room)
            slots, keys = self._slots.sizes(len(rooms), max(rooms))
            if len(rooms) > 1 and slots * self._network.held(keys) > self.branch_memory:
                break
            chosen.append(one)
        enough = min(len(group), max(1, (len(self._running) + len(chosen)) // 8))
        if self._running and len(chosen) < enough:
            return []
        longest = accumulate((len(one.prepared.branch_L) for one in chosen), max)
        most = PIECE_TOKENS if self._watched else FILL_TOKENS
        return chosen[: max(1, sum(number * length <= most for number, length in enumerate(longest, 1)))]

    def _fits(self, one: Waiting) -> bool:
        """Whether a scene's prefix may be held beside those in use; a single one always may."""
        used = {id(running.prefix): running.prefix.size for running in self._running}
        more = 0 if one.prepared.key in self.prefixes else self._network.held(len(one.prepared.prefix_P))
        return not sum(used.values()) or sum(used.values()) + more <= self.prefixes.limit

    def _begin(self, visit: Sequence[Waiting]) -> list[Token]:
        """Run the scene's prefix, where it is not known, and the questions behind it; return their first tokens.

        Empty where some of the prefix is left to do.
        """
        first, short = len(self._running), None
        begun: tuple[list[Chosen], list[tuple[int, int]]] | None = None
        try:
            found = self._prefix(visit)
            begun = None if found is None else self._fill(visit, *found)
        except DataError as error:  # an image that can't be decoded
            self._prefill = None
            return self._refused(visit, error)
        except torch.OutOfMemoryError as error:
            short = error.with_traceback(None)  # whose frames hold memory
        if short is not None:
            self._prefill = None
            self._slots.keep([], first)
            self._sampler.keep([], first)
            return self._with_less(visit, short)
        self._owed = True
        if begun is None:
            return []
        self._short = False
        self.arrivals.remove([one.request.number for one in visit])
        return self._tokens(first, *begun)

    def _fill(
        self, visit: Sequence[Waiting], prefix: Prefix, known: bool
    ) -> tuple[list[Chosen], list[tuple[int, int]]]:
        """Let the visit run; return its first tokens, and of each question the tokens of its prompt and those known."""
        first, rooms = len(self._running), [one.room for one in [*self._running, *visit]]
        self._network.reserve(self._slots, len(rooms), max(rooms))
        scores_KV = self._network.fill(self._slots, [one.prepared.branch_L for one in visit], prefix)
        self._sampler.add([self._choice(one) for one in visit])
        ids, chosen = self._sampler.choose(scores_KV, first)
        self._slots.ids[first : len(rooms)] = ids
        for one in visit:
            running = one.begun or Running(
                one.request, one.prepared, prefix, one.room, opening=self.encoder.template.thought_opening
            )
            running.prefix = prefix
            self._running.append(running)
        self._parts = None
        if prefix is not NOTHING:
            self.prefixes.hits += len(visit) if known else len(visit) - 1
        lengths = [(one.prepared.length, prefix.length if known or place else 0) for place, one in enumerate(visit)]
        return chosen, [(0, 0) if one.begun else said for one, said in zip(visit, lengths, strict=True)]

    def _with_less(self, visit: Sequence[Waiting], error: torch.OutOfMemoryError) -> list[Token]:
        """Go on where memory ran out: with less held, or once running branches end, or with fewer questions."""
        if self._let_go(self.prefixes.peek(visit[0].prepared.key)):
            return self._begin(visit)
        if self._running:
            self._short = True
            return self._decode()
        return self._begin(visit[: len(visit) // 2]) if len(visit) > 1 else self._refused(visit, error)

    def _let_go(self, wanted: Prefix | None = None) -> bool:
        """Give back the memory of what nobody needs now, ``wanted`` aside; return whether there was any."""
        idle = self.prefixes.shrink({id(wanted), *(id(one.prefix) for one in self._running)}, 0)
        recorded = self._graphs is not None and self._graphs.clear()
        begun, self._prefill = self._prefill, None
        return bool(idle) or recorded or begun is not None

    def _refused(self, visit: Sequence[Waiting], error: Exception) -> list[Token]:
        numbers = [one.request.number for one in visit]
        self.arrivals.remove(numbers)
        return [Token(number, BROKEN, finish_reason="error", error=error) for number in numbers]

    def _prefix(self, visit: Sequence[Waiting]) -> tuple[Prefix, bool] | None:
        """Return the prefix of a scene, and whether it was known: by images, rule, tokens and weights of the model.

        None where it is computed in pieces, and some of it is left to do.
        """
        prepared, mark = visit[0].prepared, weights_mark(self.model)
        self.model.eval()  # a training step in between leaves dropout on
        if mark != self._mark and self._graphs is not None:
            self._graphs.clear()
        self._mark = mark
        if not len(prepared.prefix_P):
            return NOTHING, True
        prefix = self.prefixes.find(prepared.key, mark)
        if prefix is not None:
            return prefix, True
        prefill = self._prefill
        if prefill is None or (prefill.prepared.key, prefill.mark) != (prepared.key, mark):
            self._prefill = None  # whose memory goes before more is taken
            pixels = self.arrivals.pixels(prepared)
            for_room = self.prefixes.limit - self._network.held(len(prepared.prefix_P))
            self.prefixes.shrink({id(one.prefix) for one in self._running}, max(0, for_room))
            prefill = self._network.prefill(prepared, pixels, self.encoder.special, mark)
        self._prefill, self.tower.rule = prefill, prepared.rule
        most = PIECE_TOKENS if self._watched else None
        self._network.go_on(prefill, *prefill.next_cut(most))
        prefix = prefill.prefix()
        if prefix is None:
            return None
        self._prefill = None
        self.arrivals.forget_pixels(prepared.key)
        self.prefixes.keep(prepared.key, prefix)
        return prefix, False

    @property
    def _watched(self) -> bool:
        """Whether somebody reads along while an answer grows, so that nothing may hold the steps up for long."""
        return any(one.request.stream for one in self._running)

    def _knows_images(self, prepared: Prepared) -> bool:
        """Return whether the tower needs no pixels for a question's scene."""
        self.tower.rule = prepared.rule
        return self.tower.knows(prepared.key[0], self._mark)

    def _choice(self, one: Waiting) -> Choice:
        request, settings = one.request, one.request.settings
        penalty = settings.repetition_penalty or self.model.generation_config.repetition_penalty or 1.0
        prompt = [one.prepared.prefix_P, one.prepared.branch_L] if penalty != 1.0 else []
        draws = uniforms_of(request.question, settings, request.sample) if settings.temperature > 0 else None
        if draws is not None and one.begun is not None:
            draws = draws[len(one.begun.ids) :]
        return Choice(settings, penalty, draws, prompt)

    def _decode(self) -> list[Token]:
        """Add one token to every running branch; to some of them where memory is short, and the others wait again.

        A step that failed can be run again, since it writes the same keys once more. What recurrent layers carry it
        has changed by then, perhaps: there all wait again, and the answer is empty.
        """
        self._owed = False
        while True:
            try:
                chosen = self._advance()
                break
            except torch.OutOfMemoryError as error:
                short = error.with_traceback(None)  # whose frames hold memory
            freed, count = self._let_go(), len(self._running)
            if count == 1 and not freed:
                number = self._running[0].request.number
                self._drop({0})
                return [Token(number, BROKEN, finish_reason="error", error=short)]
            if self._network.kinds is not None:
                self._put_back(count)
                self._most = count if freed else count // 2
                return []
            if not freed:
                self._put_back(count // 2)
        return self._tokens(0, chosen)

    def _advance(self) -> list[Chosen]:
        """Run a step of all branches; where it fails, it can be run again."""
        if self._parts is None:
            self._parts = prefixes_of([one.prefix for one in self._running], self._slots.device)
            self._parts = self._parts if self._graphs is None else padded_prefixes(self._parts)
        room = max(self._slots.known_lengths) + 1
        if self._graphs is None:
            scores_KV = self._network.step(self._slots, self._parts, self._slots.count, room)
        else:
            scores_KV = self._graphs(self._slots, self._parts, room)
        ids, chosen = self._sampler.choose(scores_KV)
        self._slots.advance()
        self._slots.ids[: len(chosen)] = ids
        return chosen

    def _put_back(self, count: int) -> None:
        """Let the last ``count`` branches wait until another ends; what they said so far goes on from where it was."""
        first = len(self._running) - count
        self.arrivals.put_back(self._running[first:])
        self._drop(set(range(first, len(self._running))))
        self._short = True

    def _tokens(self, first: int, chosen: Sequence[Chosen], lengths: Sequence[tuple[int, int]] = ()) -> list[Token]:
        """Return the tokens of the slots from ``first`` on; branches that end leave their slots."""
        found = [
            one.take(token, self.stops, self.encoder.tokenizer, *length)
            for one, token, length in zip(self._running[first:], chosen, lengths or [()] * len(chosen), strict=True)
        ]
        self._slots.blank([first + place for place, token in enumerate(found) if token.error is not None])
        self._drop({first + place for place, token in enumerate(found) if token.last})
        return found

    def _drop(self, gone: set[int]) -> None:
        """Free the slots of branches that ended."""
        if not gone:
            return
        moves, count = moves_of(len(self._running), gone)
        self._slots.keep(moves, count)
        self._sampler.keep(moves, count)
        for to, source in moves:
            self._running[to] = self._running[source]
        del self._running[count:]
        self._parts, self._short = None, False
        self._most = min(self.branch_limit, self._most + 1)
        self.prefixes.shrink({id(one.prefix) for one in self._running})
