"""Which held-out questions are asked, by whom, and what their answers are worth."""

import json
from types import SimpleNamespace

import pytest

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.settings.config import parse
from gpt4scene.training.answering import held_out_questions
from gpt4scene.training.held_out import HeldOutAnswers, answered, answering_problems, asked_words, shares, short
from gpt4scene.training.scoring import figures_of
from gpt4scene.training.tracking import Tracking
from gpt4scene.types import Conversation, Origin, Turn


def row(number, task, answer="A chair.", scene=0, question="What is it?"):
    images = (f"{scene}a.png", f"{scene}b.png")
    turns = (Turn("system", "Be short."), Turn("user", f"<image><image>{question}"), Turn("assistant", answer))
    return Conversation(turns, images, Origin("set", "rows.json", number, task))


ROWS = [row(number, "many" if number % 5 else "few", scene=number // 4) for number in range(20)]


def test_every_task_has_its_share_and_the_seed_chooses():
    asked = held_out_questions(ROWS, 6, seed=0)
    assert [one.question.task for one in asked].count("few") == 3
    assert [one.question.index for one in asked] == sorted({one.question.index for one in asked})
    assert asked == held_out_questions(ROWS, 6, seed=0) != held_out_questions(ROWS, 6, seed=1)
    assert len(held_out_questions(ROWS, 0.5, 0)) == 10 and len(held_out_questions(ROWS, 99, 0)) == 20
    assert len(held_out_questions(ROWS, 0.001, 0)) == 1


def test_what_was_said_before_stays():
    (one,) = held_out_questions([row(0, None)], 1, 0)
    assert one.truth == "A chair." and one.question.prompt == "<image><image>What is it?"
    assert [turn.role for turn in one.question.earlier] == ["system"] and one.question.task == "set"
    assert asked_words(one) == "What is it?"
    assert short("a\n b" + "c" * 300).startswith("a bc") and len(short("c" * 300)) < 170


def test_questions_of_the_same_images_go_to_one_process():
    asked = held_out_questions(ROWS, 20, 0)
    found = shares(asked, 3)
    assert sorted(place for share in found for place in share) == list(range(20))
    owners = [{asked[place].question.images for place in share} for share in found]
    assert not owners[0] & owners[1] and not owners[1] & owners[2] and max(map(len, found)) == 8
    assert shares(asked[:1], 2) == [[0], []]


def test_both_sides_are_cleaned_alike():
    asked = held_out_questions([row(0, None, "Two brown chairs.")], 1, 0)
    assert figures_of(asked, ["two brown chairs"]) == {"exact_match": 1.0, "refined_match": 1.0, "word_f1": 1.0}
    assert figures_of(asked, ["Chairs"]) == {"exact_match": 0.0, "refined_match": 1.0, "word_f1": 0.5}
    assert figures_of(asked, [""]) == {"exact_match": 0.0, "refined_match": 0.0, "word_f1": 0.0}


def test_objects_are_compared_as_sets():
    asked = held_out_questions([row(0, None, "Yes. <OBJ001> and <OBJ004>."), row(1, None, "No.")], 2, 0)
    assert figures_of(asked, ["<OBJ004>, <OBJ001>.", "No."])["object_f1"] == 1.0
    assert figures_of(asked, ["<OBJ001>.", "<OBJ002>."])["object_f1"] == pytest.approx(2 / 3)


def test_tasks_are_told_apart_and_a_benchmark_counts_by_its_own_rules():
    rows = [row(0, "scanqa", "Two chairs."), row(1, "other", "Red.")]
    found = figures_of(held_out_questions(rows, 2, 0), ["2 chairs", "Blue."])
    assert found["exact_match_scanqa"] == 1.0 and found["exact_match_other"] == 0.0 and found["exact_match"] == 0.5
    assert found["scanqa_EM1"] == 1.0
    assert not any(name.startswith("other_") for name in found)


def test_tasks_are_told_apart_as_losses_are():
    """Rows that say more tasks than are told apart count by their dataset."""
    rows = [row(number, f"task {number}", scene=number) for number in range(6)]
    found = figures_of(held_out_questions(rows, 6, 0, tasks=["set"]), ["A chair."] * 6)
    assert found == {"exact_match": 1.0, "refined_match": 1.0, "word_f1": 1.0}
    alike = figures_of(held_out_questions([row(0, "a b"), row(1, "a/b")], 2, 0), ["A chair.", "No."])
    assert (alike["exact_match_a_b"], alike["exact_match_a_b.2"]) == (1.0, 0.0)


def test_thoughts_are_no_part_of_an_answer():
    asked = held_out_questions([row(0, "scanqa", "<think>\nBy the door.\n</think>\n\nTwo chairs.")], 1, 0)
    for said in ("2 chairs", "<think>\n\n</think>\n\n2 chairs.", "It may be <OBJ001>.\n</think>\n\nTwo chairs."):
        assert set(figures_of(asked, [said]).values()) == {1.0}, said
    assert figures_of(asked, ["<think>\nTwo chairs."])["word_f1"] == 0.0, "a thought that never ended"
    assert answered("<think>a</think>b") == "b" and answered("<think>a") == "<think>a"


def test_types_that_prompts_tell_suffice_a_benchmark():
    question = "I am by the door, facing it. {} is left of me? Answer in a word."
    rows = [row(number, "sqa3d", "Two.", question=question.format("What")) for number in range(2)]
    assert figures_of(held_out_questions(rows, 2, 0), ["2", "three"])["sqa3d_EM1"] == 0.5
    type_of = BENCHMARKS["sqa3d"].type_of
    assert type_of is not None and [type_of(question.format(word)) for word in ("What", "Can", "Where")] == [0, 3, 5]


def test_answers_are_kept_by_the_step_of_their_weights(tmp_path):
    """Lines of a run that is not gone on with go; those of the best weights take their own step's place."""
    words = "--model_name_or_path m --dataset d --val_size 2 --eval_generate 1 --output_dir"
    config, said = parse([*words.split(), str(tmp_path)]), []
    held_out = SimpleNamespace(rows=ROWS[:1], encoder=None)

    def kept():
        lines = (tmp_path / "eval_answers.jsonl").read_text(encoding="utf-8").split("\n")
        return [(line["step"], line["answer"]) for line in map(json.loads, lines[:-1])]

    first = HeldOutAnswers(held_out, config, 0, 0, ["few"], Tracking({}, said.append), said.append)
    for step in (2, 4, 6):
        first._keep(step, step, [f"at {step}\u2028and \x85 a line"], [3])
    assert [step for step, _ in kept()] == [2, 4, 6]
    again = HeldOutAnswers(held_out, config, 0, 3, ["few"], Tracking({}, said.append), said.append)
    again._keep(5, 5, ["again"], [1])
    again._keep(8, 8, ["last"], [1])
    again._keep(5, 8, ["best"], [1])
    assert kept() == [(2, "at 2\u2028and \x85 a line"), (5, "best"), (8, "last")]


def test_weights_that_are_shared_out_are_refused(root, monkeypatch):
    least = ["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o", "--val_size", "2"]
    for stage, refused in ((2, 0), (3, 1)):
        config = parse([*least, "--deepspeed", str(root / f"examples/deepspeed/ds_z{stage}_config.json")])
        assert not list(answering_problems(config))
        asks = parse([*config.flags, "--eval_generate", "4"])
        found = list(answering_problems(asks))
        assert len(found) == refused and all("use ZeRO-2" in sentence for sentence in found)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert "FSDP shares them out" in next(answering_problems(parse([*least, "--eval_generate", "4"])))
