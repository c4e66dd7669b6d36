"""VLMEvalKit's letter and number: the rules one by one, every oracle row, and time that grows with the length only."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.metrics.option_letters import answer_number, option_letter, same_option


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("**C**", "C"),
        ("B. left", "B"),
        ("d) behind", "D"),
        ("<answer>behind</answer>", "B"),
        ("<Answer type='x'> j </ANSWER> A", "J"),
        ("it must be (c) </answer>", "C"),
        ("so A </think>", "A"),
        ("<think>A or B</think>\nI say C.", "B"),
        ("<think>A or B?</think>\nI say C.", "C"),
        ("Option A: left\nOption B: right\nB", "B"),
        ("B\nOption A: left", "B"),
        ("A and A again", "A"),
        ("A or B", None),
        ("A chair stands there", "A"),
        ("a chair stands there", None),
        ("I think the answer is b, not c", "B"),
        ("A then B, 我选择 c", "C"),
        ("between A/B and B/A", None),
        ("x=E-x", "E"),
        ("", None),
        ("I do not know", None),
        ("G", None),
        ("\u200bF\ufeff", "F"),
    ],
)
def test_letter_of_an_answer(answer, letter):
    assert option_letter(answer) == letter


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("5", 5.0),
        ("room 2 has 7", 7.0),
        ("1,250", 250.0),
        ("21-24", -24.0),
        ("twenty-one", -1.0),
        ("Seven chairs", 7.0),
        ("3.14.15", 0.15),
        ("about 1e1 m", 10.0),
        ("<answer>3 m</answer> or 4", 3.0),
        ("<think>9</think> 2 or 3", 3.0),
        ("<think>9</think> none", 9.0),
        ("[2.5, 3]", 2.5),
        ("[5 m]", None),
        ("[]", None),
        ("٥", 5.0),
        ("", None),
        ("many", None),
    ],
)
def test_number_of_an_answer(answer, number):
    assert answer_number(answer) == number


def test_nothing_in_answer_and_truth_is_the_same_option():
    assert same_option("no idea", "?") and same_option("b) left", "B") and not same_option("", "A")


def rows_of(folder):
    expected = json.loads((folder / "expected.json").read_text())["variants"]["vlmevalkit"]["parsed"]
    lines = [(folder / f"{name}.jsonl").read_text().splitlines() for name in ("questions", "predictions")]
    return zip(map(json.loads, lines[0]), map(json.loads, lines[1]), expected, strict=True)


@pytest.mark.parametrize("name", ["vsibench", "mmsi", "mindcube", "viewspatial", "sparbench"])
def test_every_answer_of_the_oracle_is_read_as_the_public_code_reads_it(spatial_oracle, name):
    read = 0
    for question, prediction, expected in rows_of(spatial_oracle / name):
        if question.get("task") == "view_change_infer":
            continue
        letters = expected is False or isinstance(expected, str)
        found = option_letter(prediction["prediction"]) if letters else answer_number(prediction["prediction"])
        assert found == (expected or None if letters else expected), prediction
        read += 1
    assert read > 300


PIECES = ["<answer>", "<answer ", "</answer>", "</think>", "answer ", "A", "b", "(", "*", " ", "\n", "x", "7", "-", "."]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_gives_a_letter_of_ten_or_nothing_and_a_number_or_nothing(text):
    assert option_letter(text) in {None, *"ABCDEFGHIJ"}
    number = answer_number(text)
    assert number is None or isinstance(number, float)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["<answer>", "<answer", "<answer>A", "(", "* ", " ", "A ", "answer ", "1", "[", "<think>", "A\t\t", "\n"]
)
def test_time_grows_with_the_length_only(piece):
    text = "x" + piece * (200_000 // len(piece)) + "x"
    start = time.process_time()
    option_letter(text), answer_number(text), answer_number(f"[{text}]")
    assert time.process_time() - start < 5  # a step that passes over the text for every piece takes minutes
