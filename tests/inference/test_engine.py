import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from generating import SHORT, by_index, expected, generate, make_engine, transformers_own
from PIL import Image

from gpt4scene.demo.tiny_model import build
from gpt4scene.errors import DataError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.sampling import Chosen
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.types import Question


@pytest.fixture(scope="module")
def engine(tiny_folder):
    return make_engine(tiny_folder)


@pytest.fixture(scope="module")
def reference(tiny_folder):
    """transformers' own model and attention, asked question by question with ``generate``."""
    return transformers_own(tiny_folder)


def test_answers_equal_generate_one_by_one(engine, reference, scenes):
    for questions in scenes:
        wanted = expected(reference, engine, questions)
        assert len(set(wanted.values())) > 2, "the questions must not all have one answer"
        assert by_index(engine.answer(questions, SHORT)) == wanted


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", pytest.param("qwen3_vl_moe", marks=pytest.mark.slow)])
def test_other_families_equal_generate(tmp_path, scenes, family):
    folder = build(tmp_path / "model", family)
    engine = make_engine(folder)
    wanted = expected(transformers_own(folder), engine, scenes[0][:3])
    assert by_index(engine.answer(scenes[0][:3], SHORT)) == wanted


@pytest.fixture
def stop_at(engine, reference):
    """Lets a test choose the token that ends answers, on both sides."""
    before = engine.scheduler.stops

    def choose(token):
        engine.scheduler.stops = frozenset({token})
        return {"eos_token_id": token, "pad_token_id": token}

    yield choose
    engine.scheduler.stops = before


def test_branches_stop_at_different_steps(engine, reference, scenes, stop_at):
    free = [generate(reference, engine, question) for question in scenes[0]]
    places = {token: [row.index(token) if token in row else None for row in free] for row in free for token in row}
    token = max(places, key=lambda token: (len(set(places[token])), token))
    assert len(set(places[token])) > 1
    options = stop_at(token)
    wanted = expected(reference, engine, scenes[0], **options)
    assert len({count for _, count in wanted.values()}) > 1
    assert by_index(engine.answer(scenes[0], SHORT)) == wanted


def test_empty_answer(engine, reference, scenes, stop_at):
    question = scenes[0][0]
    stop_at(generate(reference, engine, question)[0])
    (answer,) = engine.answer([question], SHORT)
    assert answer.tokens == 1 and answer.text in ("", engine.encoder.tokenizer.decode(list(engine.scheduler.stops)))


def test_end_marks_are_left_out_of_the_text(engine, scenes, monkeypatch):
    mark = engine.encoder.tokenizer.convert_tokens_to_ids("<|im_end|>")
    sampler = engine.scheduler._sampler
    monkeypatch.setattr(
        sampler, "choose", lambda scores_KV, *_: (scores_KV.argmax(-1), [Chosen(mark)] * len(scores_KV))
    )
    assert {(answer.text, answer.tokens) for answer in engine.answer(scenes[0], SHORT)} == {("", 1)}


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_branch_limit_changes_no_answer(engine, tiny_folder, scenes, limit):
    few = make_engine(tiny_folder, branch_limit=limit)
    assert by_index(few.answer(scenes[0], SHORT)) == by_index(engine.answer(scenes[0], SHORT))


def test_prefix_is_computed_once_per_scene(tiny_folder, scenes, monkeypatch):
    engine = make_engine(tiny_folder, branch_limit=3)
    calls = []
    forward = type(engine.model).forward

    def counted(self, *args, **kwargs):
        with_images = kwargs.get("inputs_embeds") is not None or "mm_encoder_outputs" in kwargs
        calls.append((kwargs["position_ids"].shape[-1], with_images))  # 5.17 takes the images as embeddings
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(engine.model), "forward", counted)
    list(engine.answer(scenes[1], SHORT))
    list(engine.answer(scenes[1][:1], SHORT))
    prefix = engine.scheduler.arrivals.preparer.encode(scenes[1][0]).result().prefix_P
    assert calls[0][1] and [tokens for tokens, with_images in calls if with_images] == [len(prefix)]
    assert len(calls) > 20


def test_the_last_branch_takes_the_place_of_one_that_ends(engine, scenes, stop_at, reference, monkeypatch):
    moved = []
    slots = type(engine.scheduler._slots)
    keep = slots.keep
    monkeypatch.setattr(slots, "keep", lambda self, moves, count: moved.extend(moves) or keep(self, moves, count))
    rows = [generate(reference, engine, question) for question in scenes[0]]
    token = max({token for row in rows for token in row}, key=lambda token: sum(token in row[:3] for row in rows))
    options = stop_at(token)
    assert by_index(engine.answer(scenes[0], SHORT)) == expected(reference, engine, scenes[0], **options)
    assert moved


def test_scenes_may_come_in_any_order(engine, scenes):
    list(engine.answer(scenes[0][:1], SHORT))
    mixed = [scenes[1][0], scenes[0][1]]
    wanted = by_index(engine.answer(mixed[:1], SHORT)), by_index(engine.answer(mixed[1:], SHORT))
    answers = list(engine.answer(mixed, SHORT))
    assert ([by_index([answer]) for answer in answers]) == list(wanted)


def test_two_callers_at_once_are_refused(engine, scenes):
    first = engine.answer([scenes[0][0], scenes[1][0]], SHORT)
    next(first)
    list(engine.answer(scenes[1][:1], SHORT))
    with pytest.raises(RuntimeError, match="one caller at a time"):
        list(first)


def test_answer_scenes_prefetches_and_equals_answer(engine, scenes):
    together = [by_index(answers) for answers in engine.answer_scenes(scenes, SHORT)]
    assert together == [by_index(engine.answer(questions, SHORT)) for questions in scenes]
    assert list(engine.answer_scenes([], SHORT)) == []


def test_bad_image_is_raised_when_its_scene_comes(engine, scenes, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(Path(scenes[0][0].images[0]).read_bytes()[:300])
    bad = [dataclasses.replace(scenes[0][0], images=(str(cut),))]
    visits = engine.answer_scenes([scenes[0], bad], SHORT)
    assert len(list(next(visits))) == len(scenes[0])
    with pytest.raises(DataError, match="cut.png"):
        list(next(visits))
    with pytest.raises(DataError, match="absent.png.*does not exist"):
        list(engine.answer([dataclasses.replace(scenes[0][0], images=("absent.png",))]))


def test_an_error_about_a_question_comes_behind_the_answers_to_the_others(engine, scenes):
    wrong = dataclasses.replace(scenes[0][0], index=70, prompt="<image> <image>")
    taken = []
    with pytest.raises(DataError, match="2 <image> marks"):
        for answer in engine.answer([wrong, *scenes[0]], SHORT):
            taken.append(answer)
    assert by_index(taken) == by_index(engine.answer(scenes[0], SHORT))


def test_questions_without_images_and_of_several_scenes(engine, reference, scenes):
    mixed = [Question("scanqa", 90 + i, "none", text) for i, text in enumerate(("What is it?", "Is it red or green?"))]
    mixed = [scenes[0][0], mixed[0], dataclasses.replace(scenes[1][1], index=50), mixed[1]]
    assert by_index(engine.answer(mixed, SHORT)) == expected(reference, engine, mixed)


@pytest.mark.slow
def test_repetition_penalty_equals_generate(engine, reference, scenes, monkeypatch):
    settings = GenerationSettings(max_new_tokens=12, repetition_penalty=1.3)
    wanted = expected(reference, engine, scenes[0], repetition_penalty=1.3)
    assert by_index(engine.answer(scenes[0], settings)) == wanted
    assert wanted != expected(reference, engine, scenes[0])
    monkeypatch.setattr(engine.model.generation_config, "repetition_penalty", 1.3)
    assert by_index(engine.answer(scenes[0], SHORT)) == wanted


def test_sampling_depends_on_seed_and_question_only(engine, tiny_folder, scenes):
    hot = GenerationSettings(max_new_tokens=12, temperature=1.5, top_p=0.95, seed=3)
    first = by_index(engine.answer(scenes[0], hot))
    assert by_index(make_engine(tiny_folder, branch_limit=2).answer(scenes[0][::-1], hot)) == first
    assert by_index(engine.answer(scenes[0], dataclasses.replace(hot, seed=4))) != first


def test_a_limit_of_no_branches_is_named(engine):
    with pytest.raises(ValueError, match="branch_limit"):
        Scheduler(engine.model, engine.encoder, 0)


def repaint(path, seed):
    """Another picture of the same size in pixels under the same name."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((84, 56)).save(path, compress_level=0)


@pytest.fixture
def one_scene(tmp_path):
    """Questions about three images that may be painted over; uncompressed, so that no size in bytes tells."""
    images = tuple(str(tmp_path / f"{view}.png") for view in range(3))
    for view, path in enumerate(images):
        repaint(path, view)
    return [
        Question("scanqa", i, "scene", text, images) for i, text in enumerate(("What is it?", "Where is the chair?"))
    ]


def scores(engine, questions):
    """What the model thinks of the first token: it differs where an answer of a random model may not."""
    found = []
    sampler = engine.scheduler._sampler
    choose = sampler.choose
    sampler.choose = lambda scores_KV, *rest: found.append(scores_KV) or choose(scores_KV, *rest)
    texts = by_index(engine.answer(questions, GenerationSettings(max_new_tokens=2)))
    del sampler.choose
    return found[0], texts


@pytest.mark.parametrize("which", [0, 2])
@pytest.mark.parametrize("keeps_times", [False, True])
def test_an_image_replaced_under_the_same_path_is_seen(engine, tiny_folder, one_scene, which, keeps_times):
    before, _ = scores(engine, one_scene)
    path = one_scene[0].images[which]
    state = Path(path).stat()
    repaint(path, 99)
    if keeps_times:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert Path(path).stat().st_size == state.st_size
    after, texts = scores(engine, one_scene)
    fresh, wanted = scores(make_engine(tiny_folder), one_scene)
    assert torch.equal(after, fresh) and texts == wanted and not torch.equal(after, before)


def test_an_image_replaced_by_one_of_another_size_is_seen(engine, tiny_folder, one_scene):
    list(engine.answer(one_scene, SHORT))
    Image.new("RGB", (28, 112), "red").save(one_scene[0].images[1])
    after, _ = scores(engine, one_scene)
    assert torch.equal(after, scores(make_engine(tiny_folder), one_scene)[0])


def test_an_image_replaced_before_its_scene_is_asked_for_is_seen(engine, tiny_folder, one_scene, scenes):
    before = by_index(engine.answer(one_scene, SHORT))

    def visits():
        yield one_scene
        yield scenes[0]
        engine.scheduler.arrivals.preparer.encode(one_scene[0]).result()  # those before it have been looked at
        repaint(one_scene[0].images[0], 99)
        yield one_scene

    found = [by_index(answers) for answers in engine.answer_scenes(visits(), SHORT)]
    assert found[0] == before and found[2] == by_index(make_engine(tiny_folder).answer(one_scene, SHORT)) != before


def test_an_image_replaced_before_it_is_decoded_is_an_error_and_no_prefix(tiny_folder, one_scene):
    engine = make_engine(tiny_folder)
    answers = engine.answer_scenes([one_scene], SHORT)
    first = next(answers)
    engine.scheduler.arrivals.preparer.encode(one_scene[0]).result()
    repaint(one_scene[0].images[0], 99)
    with pytest.raises(DataError, match="0.png: the file was changed after its question was asked; ask again"):
        list(first)
    assert engine.scheduler.statistics().prefixes == 0
    assert len(list(engine.answer(one_scene, SHORT))) == 2


def test_unchanged_images_and_weights_keep_the_prefix(engine, one_scene, tmp_path):
    list(engine.answer(one_scene, SHORT))
    computed = engine.scheduler.statistics().prefix_misses
    for path in one_scene[0].images:
        os.utime(path)
    copies = tuple(shutil.copy(path, f"{path}.copy.png") for path in one_scene[0].images)
    list(engine.answer([dataclasses.replace(one_scene[0], images=copies)], SHORT))
    assert engine.scheduler.statistics().prefix_misses == computed, "touched and copied files hold the same pictures"


def load_state(model):
    model.load_state_dict({name: value * 1.5 for name, value in model.state_dict().items()})


def train_a_step(model):
    model.train()
    for one in model.parameters():
        one.grad = torch.ones_like(one)
    torch.optim.SGD(model.parameters(), lr=0.05).step()


def change_one_value_of_data(model):
    next(iter(model.model.visual.parameters())).data.view(-1)[7] += 3


def merge_an_adapter(model):
    for one in model.parameters():
        one.data += 0.02 * torch.randn(one.shape, generator=torch.Generator().manual_seed(1))


def give_other_tensors(model):
    for one in model.parameters():
        one.data = one.data * 1.5


@pytest.mark.parametrize(
    "change",
    [load_state, train_a_step, change_one_value_of_data, merge_an_adapter, give_other_tensors],
    ids=lambda change: change.__name__,
)
def test_weights_changed_in_place_do_not_answer_from_the_old_prefix(tiny_folder, one_scene, change):
    engine = make_engine(tiny_folder)
    before, _ = scores(engine, one_scene)
    change(engine.model)
    after, _ = scores(engine, one_scene)
    fresh = Engine(Scheduler(engine.model, engine.encoder))
    assert torch.equal(after, scores(fresh, one_scene)[0]) and not torch.equal(after, before)
    assert not engine.model.training


def test_finish_reason_says_whether_an_answer_was_cut(engine, scenes, stop_at, reference):
    row = generate(reference, engine, scenes[0][0])
    stop_at(row[3])
    (whole,) = engine.answer(scenes[0][:1], SHORT)
    (cut,) = engine.answer(scenes[0][:1], GenerationSettings(max_new_tokens=row.index(row[3]) or 1))
    assert whole.finish_reason == "stop" and cut.finish_reason == "length"


def test_samples_of_a_question_are_answers_of_their_own(engine, scenes):
    hot = GenerationSettings(max_new_tokens=10, temperature=1.5, samples=3, return_logprobs=True)
    answers = list(engine.answer(scenes[0][:2], hot))
    found = {(answer.question.index, answer.sample): answer for answer in answers}
    assert set(found) == {(index, sample) for index in range(2) for sample in range(3)}
    assert len({answer.token_ids for answer in answers}) == 6
    assert all(len(answer.token_ids) == answer.tokens == len(answer.logprobs) for answer in answers)
    alone = next(iter(engine.answer(scenes[0][:1], dataclasses.replace(hot, samples=1, return_logprobs=False))))
    assert alone.token_ids == found[0, 0].token_ids and alone.logprobs is None


def test_answers_of_later_scenes_that_came_are_given_back_when_a_run_ends(engine, scenes):
    (first,) = (answers for answers in [next(engine.answer_scenes(scenes, SHORT))])
    taken = next(first)
    left = engine.received()
    assert taken.question.key not in {answer.question.key for answer in left if answer.question in scenes[0]}
    assert len(left) >= len(scenes[0]) - 1 and engine.received() == []


def test_a_caller_that_goes_away_leaves_nothing_running(engine, scenes):
    answers = engine.answer(scenes[0], GenerationSettings(max_new_tokens=12))
    next(answers)
    answers.close()
    visits = engine.answer_scenes(scenes, SHORT)
    next(next(visits))
    visits.close()
    list(engine.answer(scenes[0][:1], SHORT))
    assert engine.scheduler.running == engine.scheduler.waiting == 0
