"""Models with recurrent layers answer as ``generate`` does, whatever is asked beside a question."""

import dataclasses
import math

import pytest
import torch
from generating import SHORT, by_index, expected, generate, make_engine, transformers_own
from room_runs import answers as journal_answers
from scheduling import GREEDY, KINDS, Waits, run, said

from gpt4scene.demo.tiny_model import build
from gpt4scene.families.tiny import TinyShape
from gpt4scene.inference import scheduler as scheduling
from gpt4scene.inference import stems
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.forward import Network
from gpt4scene.inference.graphs import StepGraphs
from gpt4scene.inference.sampling import Sampler
from gpt4scene.inference.scheduler import Request, Scheduler
from gpt4scene.inference.slots import ROOM
from gpt4scene.types import Question, Turn

SURE = dataclasses.replace(SHORT, return_logprobs=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("transformers.models.qwen3_5", reason="transformers 5.17 does not have the family")
    return build(tmp_path_factory.mktemp("hybrid") / "model", "qwen3_5", TinyShape(width=64, layers=5))


@torch.no_grad()
def spread(model):
    """Widen the weights, so that answers hang on the scene and on each word."""
    for name, weight in model.named_parameters():
        if "language_model" in name and weight.ndim == 2:
            weight *= 4
    return model


@pytest.fixture(scope="module")
def parts(folder):
    engine = make_engine(folder)
    engine.scheduler.close()
    return spread(engine.model), engine.encoder


@pytest.fixture(scope="module")
def reference(folder):
    return spread(transformers_own(folder))


@pytest.fixture
def make(parts):
    made = []

    def call(**options):
        made.append(Scheduler(*parts, **options))
        return made[-1]

    yield call
    for scheduler in made:
        scheduler.close()


@pytest.fixture(scope="module")
def asked(scenes):
    """Questions of two scenes and of none, and turns of a dialogue about the first."""
    said_before = (Turn("user", f"<image>{scenes[0][0].prompt}"), Turn("assistant", "A red chair."))
    images = scenes[0][0].images[:1]
    dialogue = [Question("scanqa", 80 + n, "scene0", text, images, earlier=said_before) for n, text in enumerate("?!")]
    texts = [Question("scanqa", 90, "none", "What is it?")]
    others = [dataclasses.replace(question, index=50 + question.index) for question in scenes[1]]
    return [*scenes[0], *texts, *dialogue, *others]


@pytest.fixture(scope="module")
def requests(asked):
    return [Request(n, question, KINDS[n % 4], n % 3) for n, question in enumerate(asked)]


@pytest.fixture(scope="module")
def alone(parts, requests):
    scheduler, found = Scheduler(*parts), {}
    for request in requests:
        found |= run(scheduler, [request])
    scheduler.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("places", [(3, 7, 9), pytest.param(range(17), marks=pytest.mark.slow)], ids=["few", "all"])
def test_answers_equal_generate(make, reference, asked, places):
    some = [asked[place] for place in places]
    engine = Engine(make())
    answers = list(engine.answer(some, SURE))
    assert by_index(answers) == expected(reference, engine, some)
    assert by_index(Engine(make(branch_limit=1)).answer(some, SURE)) == by_index(answers)
    assert len({answer.text for answer in answers}) > len(some) // 2
    (answer,) = [one for one in answers if one.question == asked[3]]
    scores = generate(reference, engine, asked[3], output_logits=True, return_dict_in_generate=True).logits
    for id, found, row in zip(answer.token_ids, answer.logprobs, scores, strict=True):
        assert math.isclose(found, row[0].log_softmax(-1)[id].item(), abs_tol=1e-4)


@pytest.mark.slow
def test_experts_behind_recurrent_layers_answer_as_generate(folder, asked, tmp_path):
    other = build(tmp_path / "model", "qwen3_5_moe", TinyShape(width=64, layers=3))
    engine, model = make_engine(other), spread(transformers_own(other))
    spread(engine.model)
    found = by_index(engine.answer(asked, SHORT))
    assert found == expected(model, engine, asked) and len(set(found.values())) > len(asked) // 2
    engine.scheduler.close()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [3, 128])
def test_answers_do_not_hang_on_company(make, requests, alone, limit):
    scheduler = make(branch_limit=limit)
    together = run(scheduler, requests)
    assert said(together) == said(alone)
    found, held = run(scheduler, requests), scheduler.statistics()
    assert said(found) == said(alone), "a prefix that is kept is what it was"
    assert held.prefix_misses == held.prefixes == 3


@pytest.mark.slow
def test_a_scene_in_pieces_carries_on_from_piece_to_piece(make, asked):
    scheduler = make()
    special, network = scheduler.encoder.special, scheduler._network
    prepared = scheduler.arrivals.preparer.encode(asked[0]).result()
    pixels, found = scheduler.arrivals.preparer.pixels(prepared).result(), []
    for most in (None, 1):
        prefill = network.prefill(prepared, pixels, special)
        while prefill.prefix() is None:
            network.go_on(prefill, *prefill.next_cut(most))
        found.append(prefill.prefix())
    whole, pieces = found
    assert torch.allclose(whole.states, pieces.states, atol=1e-4)
    assert torch.allclose(whole.carried.memory, pieces.carried.memory, atol=1e-4)
    assert torch.allclose(whole.carried.window, pieces.carried.window, atol=1e-4)
    assert whole.carried.memory.abs().amin((1, 3, 4)).amin() > 0
    assert whole.size == whole.states.nbytes + whole.carried.nbytes <= network.held(whole.length)


@pytest.mark.slow
def test_words_that_questions_begin_with_are_run_once(make, scenes, monkeypatch):
    place, images = "I stand beside the bed and look at the window. What is", scenes[0][0].images
    texts = [f"{place} {what}?" for what in ("left", "behind", "the lamp")] + ["What is it?"] * 2 + ["Find it."]
    asked = [Request(n, Question("scanqa", n, "scene0", text, images), GREEDY) for n, text in enumerate(texts)]
    scheduler, used = make(), []
    wanted = {number: pair for one in asked for number, pair in said(run(scheduler, [one])).items()}
    monkeypatch.setattr(
        "gpt4scene.inference.forward.stems_of", lambda rows: used.append(stems.stems_of(rows, 4, 4)) or used[-1]
    )
    assert said(run(scheduler, asked)) == wanted
    assert sorted(stem.members for stem in used[0]) == [(0, 1, 2), (3, 4)]


@pytest.mark.slow
def test_a_watched_answer_goes_on_between_the_pieces_of_another_scene(make, requests, alone, monkeypatch):
    monkeypatch.setattr(scheduling, "PIECE_TOKENS", 25)
    scheduler = make()
    scheduler.add(dataclasses.replace(requests[0], stream=True))
    first = scheduler.step()
    found = run(scheduler, requests[1:])
    found[0] = [*first, *found[0]]
    assert said(found) == said(alone)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [3, 128])
def test_recorded_steps_on_padded_sizes_change_no_answer(make, requests, alone, limit):
    replayed = []

    def record(work):
        return lambda: replayed.append(1) or work()

    scheduler = make(branch_limit=limit)
    scheduler._graphs = StepGraphs(scheduler._network.step, record)
    for _ in range(3):
        assert said(run(scheduler, requests)) == said(alone)
    assert replayed


def test_a_step_waits_for_the_device_only_for_its_tokens(make, requests):
    scheduler = make()
    for request in requests[:4]:
        scheduler.add(request)
    while scheduler.waiting:
        scheduler.step()
    with Waits() as waits:
        assert len(scheduler.step()) == 4
    assert not waits.found, "what waits can't be recorded as a CUDA graph"


def full(*_):
    raise torch.OutOfMemoryError("CUDA out of memory.\nmore")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["the model", "the sampler"])
def test_where_memory_runs_out_in_a_step_all_wait_and_fewer_go_on(make, requests, alone, monkeypatch, place):
    sizes, (kind, name) = [], (Network, "step") if place == "the model" else (Sampler, "choose")
    real = getattr(kind, name)

    def for_few(self, first, *args):
        rows = first.count if kind is Network else len(first)
        sizes.append(rows)
        if kind is Network and rows > 3:
            real(self, first, *args)  # what is carried has moved on when memory runs out
        return full() if rows > 3 else real(self, first, *args)

    monkeypatch.setattr(kind, name, for_few)
    scheduler = make()
    assert said(run(scheduler, requests)) == said(alone)
    assert max(sizes) > 6 and min(sizes) <= 3 < scheduler._most, "all waited, fewer began, what ended made room again"


@pytest.mark.slow
def test_where_memory_never_suffices_for_a_step_requests_say_so(make, requests, alone, monkeypatch):
    monkeypatch.setattr(Network, "step", full)
    found = run(make(), requests[:5])
    failed = {number for number, tokens in found.items() if isinstance(tokens[-1].error, torch.OutOfMemoryError)}
    rest = {number: tokens for number, tokens in found.items() if number not in failed}
    assert failed and said(rest) == {number: said(alone)[number] for number in rest}


@pytest.mark.slow
def test_scores_that_are_no_numbers_leave_nothing_behind(make, requests, alone, monkeypatch):
    real, broken = Network.step, []

    @torch.inference_mode()
    def overflows(self, slots, *args):
        scores_KV = real(self, slots, *args)
        if not broken:
            broken.append(1)
            scores_KV[3] = slots.carried.memory[:, 3] = slots.carried.window[:, 3] = float("nan")
        return scores_KV

    monkeypatch.setattr(Network, "step", overflows)
    found = run(make(branch_limit=4), requests[:7])
    errors = [number for number, tokens in found.items() if tokens[-1].error is not None]
    rest = {number: tokens for number, tokens in found.items() if number not in errors}
    assert len(errors) == 1 and said(rest) == {number: said(alone)[number] for number in rest}


def test_what_branches_carry_counts_in_their_memory(make, requests):
    network = make()._network
    assert network.carried_keys * network.token_bytes >= network.kinds.sequence_bytes(torch.float32)
    room = 4 * network.held(ROOM)
    scheduler, most, held = make(branch_memory=room), 0, 0
    for request in requests[:7]:
        scheduler.add(dataclasses.replace(request, settings=GREEDY))
    while scheduler.step():
        most = max(most, scheduler.running)
        slots = scheduler._slots
        held = max(held, slots.states.nbytes + slots.carried.nbytes)
    assert most == 4 and room // 2 < held <= room


@pytest.mark.slow
def test_the_commands_answer_alike_from_images_and_from_kept_features(infer, folder, tmp_path):
    kept = f"--feature_cache={tmp_path / 'features'}"
    for out, flags in (("plain", ["--feature_cache=off"]), ("kept", [kept]), ("again", [kept, "--branch_limit=1"])):
        status, _, err = infer(*flags, out=out, model=folder)
        assert status == 0, err
        for task in ("scanqa", "scanrefer"):
            assert journal_answers(tmp_path / out, task) == journal_answers(tmp_path / "plain", task)
    assert any((tmp_path / "features").iterdir())
