"""Requests side by side: an answer does not hang on what is asked beside it, and an error ends one request only."""

import dataclasses
import random
from pathlib import Path

import pytest
import torch
from scheduling import GREEDY, KINDS, Waits, parts_of, run, said

from gpt4scene.errors import DataError, WorkError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.forward import Network
from gpt4scene.inference.sampling import Sampler
from gpt4scene.inference.scheduler import Request, Scheduler
from gpt4scene.inference.slots import ROOM
from gpt4scene.types import Question


@pytest.fixture(scope="module")
def parts(tiny_folder):
    return parts_of(tiny_folder)


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
def requests(scenes):
    """Questions of both scenes and of none, under every kind of settings."""
    texts = [Question("scanqa", 90 + n, "none", text) for n, text in enumerate(("What is it?", "Is it red or green?"))]
    asked = [*scenes[0], *texts, *scenes[1]]
    return [Request(n, question, KINDS[n % 4], n % 3) for n, question in enumerate(asked)]


@pytest.fixture(scope="module")
def alone(parts, requests):
    scheduler = Scheduler(*parts)
    found = {}
    for request in requests:
        found |= run(scheduler, [request])
    scheduler.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 3, 128])
def test_answers_do_not_hang_on_company(make, requests, alone, limit):
    together = run(make(branch_limit=limit), requests)
    assert said(together) == said(alone)
    for number, tokens in together.items():
        for token, other in zip(tokens, alone[number], strict=True):
            assert (token.logprob is None) == (requests[number].settings is not KINDS[1])
            assert token.logprob is None or abs(token.logprob - other.logprob) < 1e-4
            assert [id for id, _ in token.top] == [id for id, _ in other.top]


def test_answers_do_not_hang_on_the_order(make, requests, alone):
    shuffled = random.Random(0).sample(requests, len(requests))
    assert said(run(make(branch_limit=5), shuffled)) == said(alone)


def test_scenes_are_answered_in_the_same_steps(make, scenes):
    scheduler, together = make(), set()
    for number, scene in enumerate(scenes):
        for place, question in enumerate(scene):
            scheduler.add(Request(100 * number + place, question, GREEDY))
    while tokens := scheduler.step():
        together.add(frozenset(token.number // 100 for token in tokens))
    assert frozenset({0, 1}) in together


def test_first_tokens_say_how_long_the_prompt_is_and_what_of_it_was_known(make, scenes, parts):
    scheduler, (model, encoder) = make(), parts
    sample = encoder.encode_question(scenes[0][1])
    first = run(scheduler, [Request(1, scenes[0][1], GREEDY)])[1]
    again = run(scheduler, [Request(2, scenes[0][1], GREEDY)])[2]
    assert [token.prompt_tokens for token in first] == [len(sample.ids_L)] + [0] * (len(first) - 1)
    assert first[0].cached_tokens == 0 and again[0].cached_tokens == sample.cut
    found = scheduler.statistics()
    assert (found.prefix_hits, found.prefix_misses, found.prefixes) == (1, 1, 1)
    layers, heads = model.config.text_config.num_hidden_layers, model.config.text_config.num_key_value_heads
    assert found.prefix_bytes == sample.cut * layers * heads * 2 * 32 * 4


def test_pieces_of_text_make_up_the_answer(make, scenes):
    settings = GenerationSettings(max_new_tokens=40, temperature=3.0)  # hot, so that halves of characters come
    found = run(make(), [Request(n, scenes[0][n], settings, stream=True) for n in range(5)])
    for tokens in found.values():
        assert "".join(token.text for token in tokens) == tokens[-1].answer.text
        assert all(token.answer is None for token in tokens[:-1])
    assert "\ufffd" in "".join(tokens[-1].answer.text for tokens in found.values())
    quiet = run(make(), [Request(0, scenes[0][0], settings)])[0]
    assert not any(token.text for token in quiet) and quiet[-1].answer == found[0][-1].answer


def test_samples_of_a_question_differ_and_come_again(make, scenes):
    settings = GenerationSettings(max_new_tokens=12, temperature=1.5)
    requests = [Request(n, scenes[0][0], settings, n) for n in range(6)]
    first, second = (run(make(), some) for some in (requests, requests[::-1]))
    assert len({text for _, text in said(first).values()}) == 6
    assert said(first) == said(second)
    assert [first[n][-1].answer.sample for n in range(6)] == list(range(6))


def test_a_canceled_request_says_nothing_more(make, scenes, alone, requests):
    scheduler = make(branch_limit=4)
    for request in requests[:7]:
        scheduler.add(request)
    first = scheduler.step()
    assert len(first) == 4
    scheduler.cancel(requests[1].number)  # runs
    scheduler.cancel(requests[6].number)  # waits
    scheduler.cancel(12345)
    found = {token.number: [token] for token in first}
    while tokens := scheduler.step():
        for token in tokens:
            found.setdefault(token.number, []).append(token)
    gone = {requests[1].number, requests[6].number}
    assert len(found[1]) == 1 and 6 not in found
    rest = {number: tokens for number, tokens in found.items() if number not in gone}
    assert said(rest) == {number: said(alone)[number] for number in (0, 2, 3, 4, 5)}


def test_a_request_can_be_added_while_others_run(make, requests, alone):
    scheduler = make()
    scheduler.add(requests[0])
    found = {number: [] for number in (0, 3, 9)}
    for late in (None, requests[3], requests[9]):
        if late is not None:
            scheduler.add(late)
        for token in scheduler.step():
            found[token.number].append(token)
    while tokens := scheduler.step():
        for token in tokens:
            found[token.number].append(token)
    assert said(found) == {number: said(alone)[number] for number in found}


def test_a_number_under_way_is_refused(make, requests):
    scheduler = make()
    scheduler.add(requests[0])
    with pytest.raises(ValueError, match="request 0 is already under way"):
        scheduler.add(requests[0])
    scheduler.step()
    with pytest.raises(ValueError, match="request 0 is already under way"):
        scheduler.add(requests[0])


def test_an_error_ends_its_own_request_only(make, requests, alone, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(Path(requests[0].question.images[0]).read_bytes()[:300])
    long = dataclasses.replace(requests[2].settings, max_new_tokens=10**6)
    wrong = [
        Request(50, dataclasses.replace(requests[0].question, images=(str(cut),)), GREEDY),
        Request(51, dataclasses.replace(requests[0].question, images=("absent.png",)), GREEDY),
        Request(52, requests[2].question, long),
        Request(53, dataclasses.replace(requests[0].question, prompt="<image> <image>"), GREEDY),
    ]
    found = run(make(), [*wrong[:2], *requests[:4], *wrong[2:]])
    assert said({number: found[number] for number in range(4)}) == {number: said(alone)[number] for number in range(4)}
    reasons = ("cut.png", "absent.png.*does not exist", "model's context of 32768", "2 <image> marks")
    for number, reason in zip(range(50, 54), reasons, strict=True):
        (token,) = found[number]
        assert token.last and token.finish_reason == "error" and token.id == -1
        with pytest.raises(DataError, match=reason):
            raise token.error


def test_what_breaks_the_model_ends_all_and_leaves_a_scheduler_that_works(make, requests, alone, monkeypatch):
    scheduler = make()
    for request in requests[:3]:
        scheduler.add(request)
    scheduler.step()
    with monkeypatch.context() as patch:
        patch.setattr(Network, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("the device is gone")))
        with pytest.raises(RuntimeError, match="the device is gone"):
            scheduler.step()
    assert scheduler.waiting == scheduler.running == 0 and scheduler.step() == []
    assert said(run(scheduler, requests[:3])) == {number: said(alone)[number] for number in range(3)}


@pytest.mark.parametrize("call", ["fill", "step"])
def test_scores_that_are_no_numbers_end_their_request_and_leave_nothing_behind(
    make, requests, alone, monkeypatch, call
):
    scheduler, real, broken = make(branch_limit=4), getattr(Network, call), []

    @torch.inference_mode()
    def overflows(self, slots, *args):
        scores_KV = real(self, slots, *args)
        if not broken:
            broken.append(scheduler._running[0].request.number if call == "step" else requests[0].number)
            scores_KV[0] = float("nan")
            slots.states[:, :, 0] = float("inf")
        return scores_KV

    monkeypatch.setattr(Network, call, overflows)
    found = run(scheduler, requests[:7])
    (token,) = found.pop(broken[0])[-1:]
    assert isinstance(token.error, WorkError) and "scanqa, row 0: the model's scores after" in str(token.error)
    assert said(found) == {number: said(alone)[number] for number in found} and len(found) == 6


def full(*_):
    raise torch.OutOfMemoryError("CUDA out of memory.\nmore")


def test_where_memory_runs_out_idle_prefixes_go_first(make, requests, alone, monkeypatch):
    scheduler = make()
    run(scheduler, [requests[0]])
    fill, tries = Network.fill, []
    monkeypatch.setattr(Network, "fill", lambda *args: full() if not (tries or tries.append(1)) else fill(*args))
    assert said(run(scheduler, [requests[9]])) == {9: said(alone)[9]}
    assert tries and scheduler.statistics().prefixes == 1


def test_where_memory_runs_out_beside_others_a_scene_waits_for_them(make, requests, alone, monkeypatch):
    scheduler, fill = make(), Network.fill

    tries = []

    def only_alone(self, slots, *args):
        tries.append(slots.count)
        return full() if slots.count else fill(self, slots, *args)

    monkeypatch.setattr(Network, "fill", only_alone)
    assert said(run(scheduler, [requests[0], requests[9]])) == {number: said(alone)[number] for number in (0, 9)}
    assert tries == [0, 1, 0], "no more tries before a branch ended"
    monkeypatch.setattr(Network, "fill", full)
    (token,) = run(scheduler, [requests[0]])[0]
    assert isinstance(token.error, torch.OutOfMemoryError)


@pytest.mark.parametrize("place", ["the model", "the sampler"])
def test_where_memory_runs_out_in_a_step_some_branches_wait_and_all_go_on(make, requests, alone, monkeypatch, place):
    most, sizes = 3, []
    kind, name = (Network, "step") if place == "the model" else (Sampler, "choose")
    real = getattr(kind, name)

    def for_few(self, first, *args):
        rows = first.count if kind is Network else len(first)
        sizes.append(rows)
        return full() if rows > most else real(self, first, *args)

    monkeypatch.setattr(kind, name, for_few)
    scheduler = make()
    found = run(scheduler, requests)
    assert max(sizes) > 6 and said(found) == said(alone)
    assert [token.prompt_tokens > 0 for token in found[0]] == [True, *[False] * (len(found[0]) - 1)]


def test_where_memory_never_suffices_for_a_step_requests_say_so_or_come_to_their_end(
    make, requests, alone, monkeypatch
):
    monkeypatch.setattr(Network, "step", full)
    found = run(make(), requests[:5])
    failed = {number for number, tokens in found.items() if isinstance(tokens[-1].error, torch.OutOfMemoryError)}
    rest = {number: tokens for number, tokens in found.items() if number not in failed}
    assert failed and said(rest) == {number: said(alone)[number] for number in rest}


def test_where_memory_suffices_for_half_a_scenes_questions_they_begin_in_halves(make, requests, alone, monkeypatch):
    fill, sizes = Network.fill, []

    def few(self, slots, branches, prefix):
        sizes.append(len(branches))
        return full() if len(branches) > 2 else fill(self, slots, branches, prefix)

    monkeypatch.setattr(Network, "fill", few)
    assert said(run(make(), requests[:5])) == {number: said(alone)[number] for number in range(5)}
    assert sizes[:2] == [5, 2]


def test_where_memory_runs_out_idle_prefixes_go_before_a_step_is_given_up(make, requests, alone, monkeypatch):
    scheduler, step, tries = make(), Network.step, []
    run(scheduler, [requests[0]])
    monkeypatch.setattr(Network, "step", lambda *args: full() if not (tries or tries.append(1)) else step(*args))
    assert said(run(scheduler, [requests[9]])) == {9: said(alone)[9]}
    assert scheduler.statistics().prefixes == 1


def test_prefixes_stay_within_their_memory_and_the_latest_used_stay(make, scenes):
    one = make()
    run(one, [Request(0, scenes[0][0], GREEDY)])
    size = one.statistics().prefix_bytes
    for room, wanted in ((2 * size, (2, 0)), (size, (1, 1)), (0, (0, 2))):
        scheduler = make(prefix_memory=room)
        for n, scene in enumerate((0, 1, 0, 1)):
            run(scheduler, [Request(n, scenes[scene][n], GREEDY)])
            assert scheduler.statistics().prefix_bytes <= room
        found = scheduler.statistics()
        assert (found.prefix_hits, found.prefix_misses) == ((2, 2) if wanted == (2, 0) else (0, 4))


def test_scenes_wait_for_the_memory_of_prefixes_in_use(make, scenes):
    scheduler = make(prefix_memory=0)
    for number, scene in enumerate(scenes):
        scheduler.add(Request(number, scene[0], GREEDY))
    while tokens := scheduler.step():
        assert len({token.number for token in tokens}) == 1
        assert scheduler.statistics().prefixes <= 1


def test_branches_wait_for_the_memory_of_their_keys(make, requests, alone):
    scheduler = make(branch_memory=1)
    most = 0
    for request in requests[:4]:
        scheduler.add(request)
    found = {number: [] for number in range(4)}
    while tokens := scheduler.step():
        most = max(most, len(tokens), scheduler.running)
        for token in tokens:
            found[token.number].append(token)
    assert most == 1 and said(found) == {number: said(alone)[number] for number in range(4)}


def test_one_long_answer_leaves_room_for_many_short_ones_behind_it(make, requests):
    room = make()
    token = room._network.token_bytes
    scheduler = make(branch_memory=8 * ROOM * token)
    long = dataclasses.replace(GREEDY, max_new_tokens=12 * ROOM)
    scheduler.add(Request(99, requests[0].question, long))
    (first,) = scheduler.step()
    held = scheduler._slots.states.nbytes
    assert held <= 14 * ROOM * token, "one branch past the memory takes no more than it needs"
    scheduler.cancel(first.number)
    for number in range(4):
        scheduler.add(Request(number, requests[0].question, GREEDY))
    most = 0
    while scheduler.step():
        most = max(most, scheduler.running)
    assert most == 4


def test_a_step_waits_for_the_device_only_for_its_tokens(make, requests, monkeypatch):
    scheduler = make()
    for request in requests:
        scheduler.add(request)
    while scheduler.waiting:
        scheduler.step()
    with Waits() as waits:
        assert len(scheduler.step()) > 10
    assert not waits.found
    lists = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: lists.append(1) or tolist(self))
    scheduler.step()
    assert len(lists) == 1


def test_log_probabilities_are_those_of_a_forward_pass_of_its_own(make, parts, scenes):
    model, encoder = parts
    settings = GenerationSettings(max_new_tokens=6, temperature=0.7, return_logprobs=True, top_logprobs=2)
    settings = dataclasses.replace(settings, repetition_penalty=1.5)  # neither it nor the temperature shows in them
    text = Question("scanqa", 5, "none", "What is a chair good for?")
    answer = run(make(), [Request(0, text, settings)])[0]
    prompt = encoder.encode_question(text).ids_L.tolist()
    ids = torch.tensor([[*prompt, *answer[-1].answer.token_ids]])
    with torch.inference_mode():
        wanted = model(input_ids=ids).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
    got = torch.tensor(answer[-1].answer.logprobs)
    assert torch.allclose(got, wanted.gather(1, ids[0, len(prompt) :, None])[:, 0], atol=1e-5)
    for token, row in zip(answer, wanted, strict=True):
        likeliest = row.topk(2)
        assert [id for id, _ in token.top] == likeliest.indices.tolist()
        assert torch.allclose(torch.tensor([value for _, value in token.top]), likeliest.values, atol=1e-5)
