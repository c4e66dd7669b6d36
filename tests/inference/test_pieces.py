"""A scene that is computed in pieces: the same keys, steps between them, and nothing left of one that nobody wants."""

import dataclasses

import pytest
import torch
from scheduling import GREEDY, parts_of, run, said

from gpt4scene.demo.tiny_model import build
from gpt4scene.inference import scheduler as scheduling
from gpt4scene.inference.forward import Network
from gpt4scene.inference.scheduler import Request, Scheduler

LONG = dataclasses.replace(GREEDY, max_new_tokens=40)


@pytest.fixture(params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def family_folder(request, tiny_folder, tmp_path):
    return tiny_folder if request.param == "qwen2_vl" else build(tmp_path / "model", request.param)


def test_pieces_of_whole_images_give_the_keys_of_the_whole(family_folder, scenes):
    scheduler = Scheduler(*parts_of(family_folder))
    special, network = scheduler.encoder.special, scheduler._network
    prepared = scheduler.arrivals.preparer.encode(scenes[0][0]).result()
    pixels = scheduler.arrivals.preparer.pixels(prepared).result()
    two = int((prepared.prefix_P == special.image_end).nonzero()[0][1]) + 1
    found = {}
    for most in (None, 1, two):
        prefill = network.prefill(prepared, pixels, special)
        cuts = []
        while prefill.prefix() is None:
            network.go_on(prefill, *prefill.next_cut(most))
            cuts.append((prefill.done, prefill.shown))
        assert cuts[-1] == (len(prepared.prefix_P), 3) and len(cuts) == {None: 1, 1: 3, two: 2}[most], cuts
        found[most] = prefill.prefix()
    for one in (found[1], found[two]):
        assert torch.allclose(one.states, found[None].states, atol=1e-5)
        assert (one.next_position, one.length) == (found[None].next_position, found[None].length)
    scheduler.close()


@pytest.fixture
def watched(tiny_folder, scenes, monkeypatch):
    """A scheduler in which one answer streams, and the names of all it lets the model do."""
    scheduler, work = Scheduler(*parts_of(tiny_folder)), []
    monkeypatch.setattr(scheduling, "PIECE_TOKENS", 25)
    for name in ("go_on", "fill", "step"):
        real = getattr(Network, name)
        monkeypatch.setattr(Network, name, lambda *args, n=name, r=real: work.append(n) or r(*args))
    scheduler.add(Request(0, scenes[0][0], LONG, stream=True))
    scheduler.step()
    work.clear()
    yield scheduler, work
    scheduler.close()


def test_an_answer_that_streams_waits_for_a_piece_at_most(watched, scenes, tiny_folder):
    scheduler, work = watched
    found = run(scheduler, [Request(n, question, GREEDY) for n, question in enumerate(scenes[1], 1)])
    begun = work[work.index("go_on") :]
    assert begun[:6] == ["go_on", "step", "go_on", "fill", "step", "fill"]
    assert all(work[place + 1] == "step" for place, name in enumerate(work) if name == "fill")
    apart = Scheduler(*parts_of(tiny_folder))
    wanted = run(apart, [Request(n, question, GREEDY) for n, question in enumerate(scenes[1], 1)])
    apart.close()
    assert said({n: found[n] for n in wanted}) == said(wanted)
    counted = scheduler.statistics()
    assert (counted.prefix_hits, counted.prefix_misses) == (len(scenes[1]) - 1, 2)


def test_a_scene_that_nobody_wants_any_more_is_let_go(watched, scenes):
    scheduler, work = watched
    scheduler.add(Request(1, scenes[1][0], GREEDY))
    while "go_on" not in work:
        scheduler.step()
    assert scheduler._prefill is not None
    scheduler.cancel(1)
    assert scheduler._prefill is None
    run(scheduler, [Request(2, scenes[1][1], GREEDY)])
    assert scheduler.statistics().prefixes == 2


def test_without_a_reader_a_scene_is_computed_at_once(watched, scenes):
    scheduler, work = watched
    scheduler.cancel(0)
    scheduler.add(Request(1, scenes[0][0], LONG))
    run(scheduler, [Request(2, scenes[1][0], GREEDY)])
    assert work.count("go_on") == 1
