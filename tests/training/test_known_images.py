"""Features are kept only where the tower makes the same of an image every time."""

import pytest

from gpt4scene.data.image_rules import image_rule
from gpt4scene.demo import tiny_model
from gpt4scene.model.loading import load_model
from gpt4scene.model.new_lora import add_lora
from gpt4scene.model.tower import Tower
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.known_images import keep_features


@pytest.mark.parametrize(("dropout", "kept"), [(0.0, True), (0.1, False)])
def test_a_frozen_adapter_with_dropout_in_the_tower_is_not_kept(tmp_path, dropout, kept):
    folder, said = tiny_model.build(tmp_path / "model"), []
    tuned = add_lora(
        load_model(folder), TuningArguments(freeze_vision_tower=False, lora_dropout=dropout), MethodArguments()
    ).train()
    tower = Tower(tuned, image_rule(folder))
    tower.module.requires_grad_(False)  # as an adapter to go on with leaves it where the tower is frozen
    word = keep_features(tower, "1GB", 1, said.append)
    assert (tower.cache is not None) == kept and ("dropout" in word) == (not kept)
    assert len(said) == (not kept)
