"""The training recipe on families with tiles: losses do not hang on packs, steps, processes or a pause."""

import json

import pytest

from gpt4scene.demo import tiny_model

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from gpt4scene.settings.config import parse
from gpt4scene.training import processes, sft
sft.run(parse(json.load(open(sys.argv[1]))))
processes.end_of_several(0)
"""
TEMPLATES = {"internvl": "intern_vl", "llava_onevision": "llava_onevision"}
ALL_LEARN = {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}
EIGHT = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "scene_packing": 4}


@pytest.fixture(params=TEMPLATES)
def family(request, tmp_path):
    """Keys of a run on a tiny checkpoint of the family, all parts of which learn."""
    shape = tiny_model.TinyShape(width=64, vision_width=32, vision_layers=1)
    folder = tiny_model.build(tmp_path / "model", request.param, shape)
    return ALL_LEARN | {
        "model_name_or_path": folder,
        "template": TEMPLATES[request.param],
        "num_train_epochs": 1,
        "max_steps": 2,
    }


def test_losses_are_those_of_one_row_a_pass(family, train, flags, torchrun, losses_of, tmp_path):
    plain = train(tmp_path / "plain", **family, scene_packing=1)
    assert train(tmp_path / "packed", **family, scene_packing=4) == pytest.approx(plain, rel=1e-4)
    assert train(tmp_path / "steps", **family | EIGHT) == pytest.approx(plain, rel=1e-4)
    words = flags(tmp_path / "two", **family | EIGHT | {"gradient_accumulation_steps": 4})
    (tmp_path / "words.json").write_text(json.dumps(words))
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun([str(tmp_path / "script.py"), str(tmp_path / "words.json")], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses_of(tmp_path / "two") == pytest.approx(plain, rel=1e-4)


def test_a_run_goes_on_as_if_it_had_not_stopped(family, train, tmp_path):
    whole = train(tmp_path / "whole", **family, save_strategy="steps", save_steps=1)
    again = train(
        tmp_path / "again",
        **family,
        save_strategy="steps",
        save_steps=1,
        resume_from_checkpoint=tmp_path / "whole" / "checkpoint-1",
    )
    assert again[-1] == whole[-1]
