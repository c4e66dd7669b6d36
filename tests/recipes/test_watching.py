"""What a run shows while it goes, and that it can be repeated from its own record."""

import json

import pytest
import torch
from safetensors.torch import load_file

from gpt4scene.errors import DataError
from gpt4scene.settings.config import parse
from gpt4scene.training import sft


@pytest.mark.slow
def test_a_run_is_repeated_to_the_bit(train, workshop, tmp_path, capsys):
    keys = {"finetuning_type": "lora", "lora_dropout": 0.2, "scene_packing": "auto", "per_device_train_batch_size": 4}
    first = train(tmp_path / "first", **keys, seed=3)
    assert sft.main(["--from", str(tmp_path / "first"), "--output_dir", str(tmp_path / "second")]) == 0
    lines = [(tmp_path / name / "trainer_log.jsonl").read_text().splitlines() for name in ("first", "second")]
    assert [[json.loads(line)["loss"] for line in one] for one in lines] == [first, first]
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("first", "second"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert json.loads((tmp_path / "second/run.json").read_text())["config"]["repeats"] == str(
        tmp_path / "first/run.json"
    )
    with pytest.raises(DataError, match="already holds a run"):
        sft.main(["--from", str(tmp_path / "first/run.json")])
    words = ["--from", str(tmp_path / "first"), "--output_dir", str(tmp_path / "third"), "--image_resolution", "84"]
    with pytest.raises(DataError, match=r"can't be repeated: image_resolution was 56 and is 84"):
        sft.main(words)
    assert not (tmp_path / "third/model.safetensors").exists()
    capsys.readouterr()
    assert sft.run(parse([*words, "--accept_changes"])) == 0
    assert "image_resolution was 56 and is 84" in capsys.readouterr().err
