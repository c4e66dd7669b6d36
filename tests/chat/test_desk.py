"""Visitors at the desk: answers that grow, the line, stops, and what is remembered of whom."""

import threading

import pytest
from chat_scenes import Parrot, write_scene

from gpt4scene.chat import visits
from gpt4scene.chat.desk import Desk
from gpt4scene.chat.line import Line
from gpt4scene.chat.visits import Scenes
from gpt4scene.errors import DataError, WorkError


@pytest.fixture
def desk_of(tmp_path):
    def make(asker, limit=1, most=2):
        record = write_scene(tmp_path / "a")
        return Desk(asker, None, Scenes([record]), Line(limit, most), tmp_path)

    return make


def visitor(desk, name="one"):
    visit = desk.visits.of(name)
    visit.scene = "0"
    return visit


def test_an_answer_grows_and_its_numbers_light_up(desk_of):
    desk = desk_of(Parrot("<think>so", "</think>It is ", "<OBJ001>."))
    visit = visitor(desk)
    states = [(one.answer, one.state) for one in desk.ask(visit, " What? ", "free")]
    assert states[0] == ("", "reading 3 images and the question …")
    (exchange,) = visit.talk
    assert (exchange.answer, exchange.thought, exchange.lit) == ("It is <OBJ001>.", "so", [1])
    assert exchange.times.startswith("first word after 0.10 s") and not visit.busy
    assert [*desk.ask(visit, "And?", "free")]
    assert not desk.asker.asked[1].earlier
    assert [*desk.ask(visit, "And then?", "free", follow=True)]
    assert [turn.text for turn in desk.asker.asked[2].earlier[2:]] == ["And?", "It is <OBJ001>."]


def test_a_second_visitor_waits_sees_the_place_and_the_line_has_an_end(desk_of):
    desk = desk_of(Parrot())
    first, second, third = (desk.ask(visitor(desk, name), "What?", "free") for name in "abc")
    next(first)
    assert next(second).state == "place 1 in the line …" and next(third).state == "place 2 in the line …"
    with pytest.raises(WorkError, match="2 people are waiting"):
        next(desk.ask(visitor(desk, "d"), "What?", "free"))
    with pytest.raises(WorkError, match="wait for it, or stop it"):
        next(desk.ask(visitor(desk, "a"), "What?", "free"))
    assert [*first]
    assert next(second).state.startswith("reading") and next(third).state == "place 1 in the line …"
    second.close()
    assert [*third][-1].answer == "It is <OBJ001>."
    assert [*desk.ask(visitor(desk, "b"), "What?", "free")][-1].answer


def test_stopping_ends_the_answer_and_a_failure_stands_in_the_talk(desk_of):
    desk = desk_of(Parrot(*["word "] * 50, pause=0.01))
    visit = visitor(desk)
    steps = desk.ask(visit, "What?", "free")
    next(steps)
    next(steps)
    visit.stop.set()
    last = [*steps][-1]
    assert last.times == "stopped" and 0 < len(last.answer) < 250 and desk.asker.closed == 1 and not visit.busy
    broken = desk_of(Parrot("It", WorkError("the memory ran out")))
    visit = visitor(broken)
    assert [*broken.ask(visit, "What?", "free")][-1].error == "the memory ran out"
    assert not visit.earlier() and not visit.busy
    with pytest.raises(DataError, match="empty"):
        next(broken.ask(visit, "  ", "free"))


def test_who_leaves_is_forgotten_with_all_uploads(desk_of, monkeypatch, tmp_path):
    desk = desk_of(Parrot())
    visit = visitor(desk)
    folder = tmp_path / "upload"
    folder.mkdir()
    visit.folders.append(folder)
    visit.uploads += desk.scenes.add([desk.scenes.get("0")])
    assert len(visit.uploads[0]) > 20 and desk.scenes.get(visit.uploads[0]).scene_id == "room"
    desk.visits.end("one")
    assert visit.stop.is_set() and not folder.exists() and desk.scenes.public == [("room", "0")]
    with pytest.raises(DataError, match="not here any more"):
        desk.scenes.get(visit.uploads[0])
    monkeypatch.setattr(visits, "MOST_VISITS", 3)
    for name in "abcdef":
        desk.visits.of(name)
    assert len(desk.visits) == 3


def test_a_line_serves_in_order_from_many_threads():
    line, served, lock = Line(2, 20), [], threading.Lock()
    tickets = [line.join() for _ in range(8)]

    def work(number, ticket):
        with ticket:
            while ticket.wait(5):
                pass
            with lock:
                served.append(number)

    threads = [threading.Thread(target=work, args=pair) for pair in reversed([*enumerate(tickets)])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(served) == [*range(8)]
    assert line.join().place == 0
