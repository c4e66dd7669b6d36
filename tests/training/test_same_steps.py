"""Another number of processes takes the same steps, or the sentence says what to write so that it does."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from gpt4scene.data.groups import Groups
from gpt4scene.data.planning import even_size, plan_steps
from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import MARK
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.same_steps import check_plan

PLAN = BatchPlan(questions_per_step=8, questions_per_pack=4, processes=2, training_rows=100, seed=42)


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function: plan -> a checkpoint that was saved under it."""

    def make(plan):
        folder = tmp_path / "checkpoint-3"
        folder.mkdir(exist_ok=True)
        (folder / MARK).write_text(json.dumps(plan.content()))
        return folder

    return make


def steps_of(plan):
    """The rows of every step of an epoch, sorted."""
    scenes = np.random.default_rng(0).integers(0, 6, plan.training_rows).tolist()
    groups = Groups(keys=tuple(scenes), parents={})
    dealt = plan_steps(groups, plan.questions_per_pack, plan.questions_per_step, plan.seed, 1, plan.processes)
    return [sorted(row for packs in step for pack in packs for row in pack) for step in zip(*dealt, strict=True)]


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("packs", [1, 2, 4])
def test_the_same_questions_a_step_go_on_by_other_processes(checkpoint, processes, packs):
    then = replace(PLAN, questions_per_pack=packs)
    now = replace(then, processes=processes, questions_per_step=16 // processes)
    about = check_plan(checkpoint(then), now)
    assert about is None if processes == 2 else f"goes on by {processes} processes" in about
    assert steps_of(now) == steps_of(then)


@pytest.mark.parametrize("processes", [1, 3, 4, 8, 32])
@pytest.mark.parametrize(("questions", "packs"), [(8, 4), (8, 8), (8, 1), (9, 5)])
def test_what_the_sentence_says_goes_on(checkpoint, questions, packs, processes):
    then = replace(PLAN, questions_per_step=questions, questions_per_pack=packs)
    folder = checkpoint(then)
    with pytest.raises(DataError, match=f"number of processes was 2 and is {processes}; use 2 processes") as error:
        check_plan(folder, replace(then, processes=processes))
    said = {key: int(number) for key, number in re.findall(r"(\w+): (\d+)", str(error.value))}
    divides = re.search(r"a number of processes that divides (\d+)", str(error.value))
    if said:
        each = said["per_device_train_batch_size"] * said["gradient_accumulation_steps"]
        now = replace(then, processes=processes, questions_per_step=each)
        now = replace(now, questions_per_pack=even_size(each, said["scene_packing"]))
        assert f"goes on by {processes} processes" in check_plan(folder, now)
        assert steps_of(now) == steps_of(then)
    elif divides:
        assert int(divides[1]) % processes and int(divides[1]) * packs == 2 * questions
    else:
        assert questions % packs, "no other number of processes gives these steps"


def test_the_same_number_of_questions_in_other_packs_is_refused(checkpoint):
    then = BatchPlan(questions_per_step=9, questions_per_pack=5, processes=2, training_rows=100, seed=42)
    with pytest.raises(DataError, match="can't be continued exactly"):
        check_plan(checkpoint(then), replace(then, processes=1, questions_per_step=18))
    with pytest.raises(DataError, match="seed was 42 and is 1"):
        check_plan(checkpoint(PLAN), replace(PLAN, processes=1, questions_per_step=16, seed=1))


@pytest.mark.parametrize("other_rows", [False, True])
def test_an_optimizer_in_parts_wants_as_many_processes(checkpoint, other_rows):
    now, folder = replace(PLAN, processes=1, questions_per_step=16), checkpoint(PLAN)
    with pytest.raises(DataError, match="DeepSpeed has cut its optimizer into 2 parts.*start anew"):
        check_plan(folder, now, in_parts=True, other_rows=other_rows)
    assert check_plan(folder, now, other_rows=True) is None
    assert check_plan(folder, PLAN, in_parts=True) is None
