"""What questions begin with is found once: no question in two stems, none wholly inside one, and no better choice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scheduling import GREEDY, parts_of, run, said

from gpt4scene.inference import stems
from gpt4scene.inference.scheduler import Request, Scheduler
from gpt4scene.inference.stems import Stem, stems_of
from gpt4scene.types import Question

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=7)


@given(ROWS, st.integers(1, 6))
def test_stems_are_shared_by_their_members_and_leave_a_token_to_each(rows, least):
    found = stems_of([np.array(row) for row in rows], least, 1)
    members = [member for stem in found for member in stem.members]
    assert len(members) == len(set(members))
    for stem in found:
        assert len({tuple(rows[member][: stem.length]) for member in stem.members}) == 1
        assert all(len(rows[member]) > stem.length for member in stem.members) and stem.spared >= least


@given(ROWS)
def test_no_single_stem_would_spare_more(rows):
    spared = sum(stem.spared for stem in stems_of([np.array(row) for row in rows], 1, 1))
    for words in {tuple(row[:length]) for row in rows for length in range(1, len(row))}:
        alike = [row for row in rows if tuple(row[: len(words)]) == words]
        assert len(words) * (len(alike) - 1) <= spared or any(len(row) == len(words) for row in alike)


def test_words_of_a_task_are_one_stem_and_short_or_few_ones_none():
    words = list(range(40))
    rows = [np.array([*words, 100 + number, 1]) for number in range(9)]
    rows += [np.array([7, 8, number]) for number in range(9)]
    assert stems_of(rows) == [Stem(40, tuple(range(9)))]
    assert stems_of(rows[:5]) == [], "160 tokens are not worth a call of the model"
    assert stems_of([]) == stems_of(rows[:1]) == []


def test_questions_that_begin_alike_are_answered_as_alone(tiny_folder, scenes, monkeypatch):
    parts, images = parts_of(tiny_folder), scenes[0][0].images
    place = "I stand beside the bed and look at the window. What is"
    texts = [f"{place} {what}?" for what in ("left", "behind", "the lamp")]
    texts += ["How many tables are there?", "How many chairs are there?", "What is it?", "What is it?"]
    asked = [Question("scanqa", number, "scene0", text, images) for number, text in enumerate(texts)]
    requests = [Request(number, question, GREEDY) for number, question in enumerate(asked)]
    scheduler, used = Scheduler(*parts), []
    wanted = {number: pair for one in requests for number, pair in said(run(scheduler, [one])).items()}

    def watched(branches):
        used.append(stems.stems_of(branches, 4, 4))
        return used[-1]

    monkeypatch.setattr("gpt4scene.inference.forward.stems_of", watched)
    assert said(run(scheduler, requests)) == wanted
    assert sorted(stem.members for stem in used[0]) == [(0, 1, 2), (5, 6)]
    scheduler.close()
