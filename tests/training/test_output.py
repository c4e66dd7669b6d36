import json
from dataclasses import replace

import pytest

from gpt4scene.errors import DataError
from gpt4scene.model.adapter_chain import NOTE
from gpt4scene.model.pissa import CONVERTED, START
from gpt4scene.training.occupancy import leave, occupy
from gpt4scene.training.output import (
    AUTO,
    MARK,
    BatchPlan,
    check_output_folder,
    holds_run,
    leave_one_model,
    newest_checkpoint,
    open_output,
)
from gpt4scene.training.same_steps import check_plan

PLAN = BatchPlan(questions_per_step=8, questions_per_pack=4, processes=2, training_rows=100, seed=42)


def checkpoint(folder, step, complete=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if complete:
        plan = {"questions": 8, "branches": 4, "processes": 2, "rows": 100, "seed": 42, "order": 3}
        (path / MARK).write_text(json.dumps(plan))
    return path


def test_the_file_keeps_its_keys():
    kept = {"questions": 8, "branches": 4, "processes": 2, "rows": 100, "seed": 42}
    assert PLAN.content() == kept | {"order": 3}


@pytest.mark.parametrize(("branches", "exact"), [(1, True), (4, False)])
@pytest.mark.parametrize("order", [1, 2])
def test_a_checkpoint_of_the_old_dealing_goes_on_only_where_nothing_changed(tmp_path, branches, exact, order):
    path = tmp_path / "checkpoint-3"
    path.mkdir()
    then = {"questions": 8, "branches": branches, "processes": 2, "rows": 100, "seed": 42}
    (path / MARK).write_text(json.dumps(then | ({"order": order} if order > 1 and branches > 1 else {})))
    now = replace(PLAN, questions_per_pack=branches)
    if exact:
        check_plan(path, now)
    else:
        with pytest.raises(DataError, match=f"deals packs to steps was {order} and is 3"):
            check_plan(path, now)


def test_a_free_folder_is_taken(tmp_path):
    assert open_output(tmp_path / "new", overwrite=False, resume=None) is None
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "trainer_log.jsonl").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    assert open_output(tmp_path, overwrite=False, resume=None) is None


def test_the_newest_checkpoint_is_the_newest_complete_one(tmp_path):
    for step in (9, 10, 100):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 200, complete=False)
    assert newest_checkpoint(tmp_path).name == "checkpoint-100"
    assert open_output(tmp_path, overwrite=True, resume=True).name == "checkpoint-100"
    assert open_output(tmp_path, overwrite=False, resume=str(tmp_path / "checkpoint-9")).name == "checkpoint-9"
    assert (tmp_path / "checkpoint-200").is_dir()
    with pytest.raises(DataError, match="checkpoint-200: not a complete checkpoint"):
        open_output(tmp_path, overwrite=False, resume=str(tmp_path / "checkpoint-200"))


def test_unfinished_checkpoints_are_counted(tmp_path):
    checkpoint(tmp_path, 3, complete=False)
    with pytest.raises(DataError, match="no complete checkpoint to resume from .1 unfinished"):
        open_output(tmp_path, overwrite=False, resume=True)


def test_starting_over_deletes_the_run_and_nothing_else(tmp_path):
    checkpoint(tmp_path, 3)
    (tmp_path / "trainer_state.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "checkpoint-best").mkdir()
    with pytest.raises(DataError, match="already holds a run"):
        open_output(tmp_path, overwrite=False, resume=None)
    assert open_output(tmp_path, overwrite=True, resume=None) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-best", "notes.txt"]


def test_every_change_of_the_plan_is_named(tmp_path):
    path = checkpoint(tmp_path, 3)
    check_plan(path, PLAN)
    with pytest.raises(DataError) as error:
        check_plan(path, replace(PLAN, questions_per_pack=2, training_rows=90, processes=4))
    for words in ("scene_packing was 4 and is 2", "training rows was 100 and is 90", "processes was 2 and is 4"):
        assert words in str(error.value)
    assert "seed was" not in str(error.value)


@pytest.mark.parametrize("below", ["", "run", "a/b"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_is_no_output_folder(tmp_path, below, overwrite):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="file: output_dir must be a folder"):
        open_output(tmp_path / "file" / below, overwrite=overwrite, resume=None)


def test_looking_deletes_nothing(tmp_path):
    path = checkpoint(tmp_path, 9)
    assert check_output_folder(tmp_path, overwrite=True, resume=None) is None and path.is_dir()
    assert open_output(tmp_path, overwrite=True, resume=None) is None and not path.exists()


def test_an_earlier_adapter_is_not_left_beside_a_whole_model(tmp_path):
    """Whoever loads the folder would take the adapter, and pass over what was trained."""
    assert not holds_run(tmp_path) and leave_one_model(tmp_path, adapter=False) == ""
    for name in (NOTE, START):
        (tmp_path / name).write_text("[]")
    (tmp_path / CONVERTED).mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "model-00001-of-00002.safetensors", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert holds_run(tmp_path)
    said = leave_one_model(tmp_path, adapter=True)
    assert "still holds model-00001-of-00002.safetensors of an earlier run" in said
    assert len(list(tmp_path.iterdir())) == 4, "what an earlier adapter started from is not this one's"
    assert "adapter_config.json of an earlier run was deleted" in leave_one_model(tmp_path, adapter=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-00001-of-00002.safetensors", "notes.txt"]
    assert leave_one_model(tmp_path, adapter=False) == ""


def test_auto_goes_on_where_it_can_and_starts_where_there_is_nothing_to_lose(tmp_path):
    """A job that is started again by a queue has one command for its first start and all others."""
    run, log = tmp_path / "run.json", tmp_path / "trainer_log.jsonl"
    assert check_output_folder(tmp_path / "new", overwrite=False, resume=AUTO) is None
    checkpoint(tmp_path, 5, complete=False)
    log.write_text("{}")
    run.write_text('{"status": "running"}')
    assert check_output_folder(tmp_path, overwrite=False, resume=AUTO) is None and log.exists()
    run.write_text('{"status": "finished"}')
    with pytest.raises(DataError, match="already holds a run .*no complete checkpoint to continue from, start"):
        check_output_folder(tmp_path, overwrite=False, resume=AUTO)
    checkpoint(tmp_path, 4)
    for status in ("finished", "failed"):
        run.write_text(json.dumps({"status": status}))
        assert open_output(tmp_path, overwrite=False, resume=AUTO).name == "checkpoint-4" and log.exists()


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path):
    place = occupy(tmp_path / "run")
    with pytest.raises(DataError, match="another run is writing here at this moment; wait"):
        occupy(tmp_path / "run")
    leave(place)
    assert not (tmp_path / "run").exists(), "nothing was written"
    place = occupy(tmp_path / "run")
    (tmp_path / "run" / "log").touch()
    leave(place)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log"]
