"""What may differ where a run is repeated, and what may not."""

import json

import pytest

from gpt4scene.errors import DataError
from gpt4scene.settings.config import TrainConfig, parse
from gpt4scene.training.repeating import check_repeat, earlier_run

LEAST = ["--model_name_or_path", "m", "--dataset", "a", "--output_dir", "o"]
THEN = {
    "git": {"commit": "a" * 40, "changed": False},
    "versions": {"torch": "2.0", "peft": "1"},
    "hardware": {"processes": 2, "folder": "here", "processor": "x86_64"},
    "data": {"fingerprint": {"cutoff_len": 64, "media_dir": None, "dataset files": {"rows": {"rows.json": "aa"}}}},
    "batch": {"questions_per_step": 8},
    "checkpoint": "0123",
    "launch": {"deepspeed": {"zero_optimization": {"stage": 2}}, "fsdp": False},
}


@pytest.fixture
def repeat(tmp_path):
    """Return a function: content of the earlier file, whether changes are accepted, changes now -> sentences."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"config": parse(LEAST).resolved()}))

    def check(then=THEN, accept=False, **now):
        config = parse(["--from", str(file), *(["--accept_changes"] if accept else [])])
        assert isinstance(config, TrainConfig)
        file.write_text(json.dumps(then | {"config": config.resolved()}))
        return check_repeat(config, earlier_run(config), THEN | now)

    return check


def test_nothing_differs(repeat):
    assert repeat() == []


def test_versions_are_told_and_go_on(repeat):
    notes = repeat(
        git={"commit": "b" * 40},
        versions={"torch": "2.1", "numpy": "2"},
        hardware=THEN["hardware"] | {"folder": "there", "accelerators": ["H100"]},
    )
    for words in ("aaaaaaaaaaaa and is bbbbbbbbbbbb", "torch was 2.0 and is 2.1", "peft was 1 and is absent"):
        assert any(words in note for note in notes)
    assert any("accelerators was none and is H100" in note for note in notes)
    assert len(notes) == 5, "the working directory is told before files are looked for (settings.repeated)"
    assert "uncommitted" not in str(notes)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"checkpoint": "4567"}, "the checkpoint that it starts from holds other content"),
        ({"data": {"fingerprint": THEN["data"]["fingerprint"] | {"cutoff_len": 65}}}, "cutoff_len was 64 and is 65"),
        ({"data": {"fingerprint": THEN["data"]["fingerprint"] | {"dataset files": {"rows": {}}}}}, "differ: rows"),
        ({"hardware": {"processes": 1}}, "2 processes with 8 questions a step, and this is 1 with 8"),
        ({"batch": {"questions_per_step": 4}}, "and this is 2 with 4"),
        ({"launch": {"deepspeed": None, "fsdp": False}}, "the content of the DeepSpeed file is another"),
        ({"launch": THEN["launch"] | {"fsdp": True}}, "the use of FSDP is another"),
    ],
)
def test_other_rows_weights_and_processes_are_refused_unless_told(repeat, now, said):
    with pytest.raises(DataError, match=f"can't be repeated: .*{said}.*--accept_changes true"):
        repeat(**now)
    assert any(said in note for note in repeat(accept=True, **now))


def test_what_only_one_version_notes_is_no_difference_but_limits_of_images_are(repeat):
    rows = THEN["data"]["fingerprint"]
    assert repeat(data={"fingerprint": rows | {"a setting of later": 3}}) == []
    with pytest.raises(DataError, match="image_max_pixels was None and is 50176"):
        repeat(data={"fingerprint": rows | {"image_max_pixels": 50176}})


def test_images_may_lie_elsewhere(repeat):
    moved = THEN["data"]["fingerprint"] | {"media_dir": "elsewhere"}
    assert repeat(data={"fingerprint": moved}) == []


def test_files_of_earlier_versions_say_what_they_lack(repeat):
    older = {key: value for key, value in THEN.items() if key != "checkpoint"}
    assert any("does not say which weights" in note for note in repeat(older))
    with pytest.raises(DataError, match="does not say which rows"):
        repeat({key: value for key, value in older.items() if key != "data"})
    with pytest.raises(DataError, match="does not say how many questions a step had, as it ended before"):
        repeat({key: value for key, value in THEN.items() if key != "batch"})
    assert repeat({key: value for key, value in THEN.items() if key != "launch"}) == []
