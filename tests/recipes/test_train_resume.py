"""Going on with runs of the training recipe that are over, incomplete, or others."""

import json
import resource
import shutil

import pytest

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.settings.config import parse
from gpt4scene.training import output, sft

pytestmark = pytest.mark.slow

STEPS = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1}  # 4 steps an epoch


def contents(folder):
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("end", [{"max_steps": 3}, {"num_train_epochs": 1}, {"num_train_epochs": 0.5}])
def test_a_finished_run_takes_no_step_and_stays_as_it_is(train, flags, tmp_path, capsys, end):
    out = tmp_path / "run"
    train(out, **STEPS, **end)
    before = contents(out)
    assert sft.run(parse(flags(out, **STEPS, **end, resume_from_checkpoint=True))) == 0
    assert "finished before: " in capsys.readouterr().err
    assert contents(out) == before
    with pytest.raises(DataError, match="steps, but this run ends after 1"):
        sft.run(parse(flags(out, **STEPS, max_steps=1, resume_from_checkpoint=True)))
    assert contents(out) == before, "a run that is refused at its start leaves the record of the earlier one, too"


@pytest.mark.parametrize("end", [{"max_steps": 3}, {"num_train_epochs": 1}])
def test_a_result_that_was_never_written_is_written_without_a_step(train, flags, tmp_path, capsys, end):
    """A run that was killed between its last checkpoint and its end."""
    out = tmp_path / "run"
    train(out, **STEPS, **end)
    wanted = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    last = sorted(out.glob("checkpoint-*"))[-1].name
    assert sft.run(parse(flags(out, **STEPS, **end, resume_from_checkpoint=True))) == 0
    assert "no step was left" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == wanted
    assert sorted(out.glob("checkpoint-*"))[-1].name == last


def test_an_older_checkpoint_makes_room_when_the_newer_one_is_whole(train, tmp_path, monkeypatch):
    keys, out = STEPS | {"max_steps": 4, "save_total_limit": 1}, tmp_path / "run"
    whole = train(tmp_path / "whole", **keys)
    assert [path.name for path in (tmp_path / "whole").glob("checkpoint-*")] == ["checkpoint-4"]

    def killed(path, *_, write=output.write_json, **how):
        if path.parent.name == "checkpoint-3":
            raise KeyboardInterrupt
        write(path, *_, **how)

    monkeypatch.setattr(output, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        train(out, **keys)
    monkeypatch.undo()
    assert (out / "checkpoint-2" / output.MARK).is_file() and not (out / "checkpoint-3" / output.MARK).exists()
    assert train(out, **keys, resume_from_checkpoint=True) == whole
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-4"]


def test_a_finished_run_goes_on_when_its_end_is_moved(train, tmp_path):
    out = tmp_path / "run"
    whole = train(tmp_path / "whole", **STEPS, max_steps=5, lr_scheduler_type="constant")
    train(out, **STEPS, max_steps=3, lr_scheduler_type="constant")
    longer = train(out, **STEPS, max_steps=5, lr_scheduler_type="constant", resume_from_checkpoint=True)
    assert longer == whole


def test_weights_alone_are_not_gone_on_with(train, flags, tmp_path):
    keys = STEPS | {"save_only_model": True}
    train(tmp_path / "run", **keys, max_steps=3)
    with pytest.raises(DataError, match="checkpoint-3: holds no optimizer and no schedule"):
        sft.run(parse(flags(tmp_path / "run", **keys, max_steps=5, resume_from_checkpoint=True)))


def test_what_can_not_be_gone_on_with_is_named(train, flags, tmp_path, workshop):
    keys = STEPS | {"max_steps": 4}
    train(tmp_path / "full", **keys | {"max_steps": 2})
    train(tmp_path / "lora", **keys | {"max_steps": 2}, finetuning_type="lora")
    shape = tiny_model.TinyShape(width=32, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    tiny_model.build(tmp_path / "other", shape=shape)
    changed = tmp_path / "data"
    shutil.copytree(workshop / "data", changed)
    rows = changed / "rows.json"
    rows.write_text(rows.read_text().replace("A chair.", "A table."))
    full, lora = tmp_path / "full/checkpoint-2", tmp_path / "lora/checkpoint-2"
    for given, words in (
        ({"resume_from_checkpoint": tmp_path / "gone"}, "names a folder that is not there"),
        ({"resume_from_checkpoint": lora}, "holds a LoRA adapter, but finetuning_type is full"),
        ({"resume_from_checkpoint": full, "finetuning_type": "lora"}, "holds no LoRA adapter"),
        ({"resume_from_checkpoint": full, "learning_rate": 1e-2}, "learning_rate was 0.001 and is 0.01"),
        ({"resume_from_checkpoint": full, "dataset_dir": changed}, "dataset files of the rows is another"),
        (
            {"resume_from_checkpoint": full, "model_name_or_path": tmp_path / "other"},
            "weights do not fit this run's model",
        ),
    ):
        with pytest.raises(DataError, match=words):
            sft.run(parse(flags(tmp_path / "run", **keys | given)))


@pytest.fixture
def largest_file():
    """Return a function: bytes -> no file may grow beyond them, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt"])
def test_a_checkpoint_that_can_not_be_written_is_one_sentence(train, flags, tmp_path, largest_file, file):
    out = tmp_path / "run"
    train(out, **STEPS, max_steps=2)
    weights = (out / "checkpoint-2/model.safetensors").stat().st_size
    largest_file(weights // 2 if file == "model.safetensors" else weights + 1000)
    again = flags(out, **STEPS, max_steps=4, resume_from_checkpoint=True)
    with pytest.raises(DataError, match=r"checkpoint-3: could not be saved .*make room, then go on with"):
        sft.run(parse(again))
    largest_file(resource.RLIM_INFINITY)
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    assert not (out / "checkpoint-3/batches.json").exists()
    assert sft.run(parse(again)) == 0
    assert (out / "checkpoint-4/batches.json").is_file()
