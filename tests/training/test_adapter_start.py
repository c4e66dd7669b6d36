"""A LoRA checkpoint goes on on the base that it was trained on, with the same adapters merged into it."""

import json

import pytest
import torch
from safetensors.torch import save_file

from gpt4scene.errors import DataError
from gpt4scene.model.adapter_chain import note_earlier
from gpt4scene.training.adapter_start import check_same_start


def base(folder, number):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"lm_head.weight": torch.full((4, 4), float(number))}, folder / "model.safetensors")
    return folder


def adapter(folder, of, number):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(of)}))
    save_file({"lora_A": torch.full((2, 2), float(number))}, folder / "adapter_model.safetensors")
    return folder


def test_another_base_or_other_merged_adapters_are_refused(tmp_path):
    one, two, twin = (base(tmp_path / name, number) for name, number in (("one", 1), ("two", 2), ("twin", 1)))
    first, copy, other = (adapter(tmp_path / name, one, n) for name, n in (("a", 1), ("copy", 1), ("b", 2)))
    plain, on_top = (adapter(tmp_path / f"checkpoint-{number}", one, 3) for number in (1, 2))
    note_earlier(on_top, [first])
    for folder in (one, twin):
        check_same_start(plain, folder, [])
        check_same_start(on_top, folder, [copy])
    check_same_start(one, two, [first])  # all weights are in a checkpoint of full training
    with pytest.raises(DataError, match="was trained on .*one, whose weights are not those of .*two"):
        check_same_start(plain, two, [])
    for checkpoint, merged, said in (
        (on_top, [], "its run merged .*a into the base first, and this one no adapter"),
        (on_top, [other], "its run merged .*a into the base first, and this one .*b; write adapter_name"),
        (plain, [first], "its run merged no adapter into the base first, and this one .*a"),
    ):
        with pytest.raises(DataError, match=said):
            check_same_start(checkpoint, one, merged)
