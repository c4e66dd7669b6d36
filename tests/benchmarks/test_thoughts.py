"""Thoughts are no part of an answer, but where a benchmark's public rules look at them."""

import pytest

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.thoughts import named_without, rows_without
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.named_answers import NamedAnswer

TEXTS = ("<think>a or b</think>\n\nThe chair.", "The lamp.", "<think>never ended", "begun in the prompt</think>No.")
SAID = ["The chair.", "The lamp.", "", "No."]
SENTENCE = ["thoughts in 3 of 4 answers are left out; 1 of these say nothing else, and count as empty"]


def test_rows_keep_the_answer_alone():
    rows, notes = rows_without([AnswerRow(scene_id="s", pred=text) for text in TEXTS])
    assert ([row.pred for row in rows], notes) == (SAID, SENTENCE)


def test_answers_that_name_their_questions_keep_the_answer_alone():
    named = [NamedAnswer(number, None, text, "f") for number, text in enumerate((*TEXTS, [1, 2]))]
    kept, notes = named_without(named)
    assert ([one.value for one in kept], notes) == ([*SAID, [1, 2]], SENTENCE)


def test_nothing_is_said_where_there_are_none():
    assert rows_without([AnswerRow(scene_id="s", pred="A chair.")])[1] == []


@pytest.mark.parametrize("name", ["vsibench", "revsi", "mmsi", "mindcube", "viewspatial", "sparbench"])
def test_public_rules_that_look_at_thoughts_get_them(name):
    assert BENCHMARKS[name].reads_thoughts


@pytest.mark.parametrize("name", ["scanqa", "sqa3d", "scan2cap", "scanrefer", "multi3dref"])
def test_room_benchmarks_count_answers_alone(name):
    assert not BENCHMARKS[name].reads_thoughts
