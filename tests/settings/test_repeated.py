"""``--from run.json``: the settings of an earlier run, with flags that win over them."""

import json
import os

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse

FLAGS = [
    *("--model_name_or_path", "m", "--dataset", "a,b", "--output_dir", "out", "--template", "qwen2_vl"),
    *("--learning_rate", "5e-6", "--warmup_ratio", "0.1", "--scene_packing", "auto", "--overwrite_output_dir"),
    *("--finetuning_type", "full", "--lr_scheduler_kwargs", "{}", "--val_size", "0.1"),
]


@pytest.fixture
def written(tmp_path):
    """A run.json of these flags, and its content."""
    content = {"config": parse(FLAGS).resolved(), "batch": {"scene_packing": 6}}
    (tmp_path / "run.json").write_text(json.dumps(content))
    return tmp_path / "run.json", content


def test_settings_are_those_of_the_run(written):
    file, _ = written
    before, after = parse(FLAGS), parse(["--from", str(file)])
    assert after.repeats == str(file) and after.source is None
    assert after.training == before.training and after.data == before.data and after.model == before.model
    assert after.tuning.scene_packing == 6, "what auto came to"
    assert not after.tuning.overwrite_output_dir, "else the run that is repeated would be deleted"
    assert after.notes == ()
    assert parse(["--from", str(file.parent)]).repeats == str(file), "its folder names it too"


def test_flags_win(written):
    file, _ = written
    changed = parse(["--from", str(file), "--learning_rate", "1e-5", "--output_dir=other"])
    assert changed.training["learning_rate"] == 1e-5 and changed.output_dir == "other"
    assert changed.data.dataset == ["a", "b"]


def test_files_of_earlier_versions(written):
    file, content = written
    config = content["config"]
    del config["said"], config["watching"], content["batch"]
    file.write_text(json.dumps(content | {"resumed_from": "out/checkpoint-3"}))
    found = parse(["--from", str(file)])
    assert found.training == parse(FLAGS).training | {"resume_from_checkpoint": "out/checkpoint-3"}
    assert found.tuning.finetuning_type == "full" and found.data.dataset == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from"], "'--from' takes one file"),
        (["--from", "none.json"], "none.json"),
        (["--from", "{folder}/list.json"], "no settings under 'config'"),
        (["{folder}/run.json"], "is the record of a run, not its settings; --from .*run.json repeats that run"),
        (["none.yaml"], "none.yaml: cannot be read"),
        (["run.yaml", "--from", "{folder}/run.json"], "two sources of settings; keep one"),
    ],
)
def test_what_is_wrong_is_said(written, words, said):
    folder = written[0].parent
    (folder / "list.json").write_text("[]")
    with pytest.raises(ConfigError, match=said) as error:
        parse([word.format(folder=folder) for word in words])
    assert not any("is missing" in sentence for sentence in error.value.problems), "what was not read is not missing"


def test_another_working_directory_is_said_before_any_file_is_missing(written):
    file, content = written
    for folder, notes in ((os.getcwd(), 0), ("/elsewhere", 1)):
        file.write_text(json.dumps(content | {"hardware": {"folder": folder}}))
        found = parse(["--from", str(file)]).notes
        assert len(found) == notes and all("ran in /elsewhere, and this one runs in" in note for note in found)


def test_accepting_changes_needs_a_run(written):
    assert "accept_changes has no effect: it needs --from run.json" in parse([*FLAGS, "--accept_changes"]).notes
    assert parse(["--from", str(written[0]), "--accept_changes"]).notes == ()
