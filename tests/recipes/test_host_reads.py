"""Where a training step waits for the device: once, to learn whether it may be taken."""

from collections import Counter

import pytest
from host_reads import HostReads

from gpt4scene.training.trainer import PackTrainer

ONCE = (
    "made on the host: model/pixels",
    "made on the host: model/tower_plan",
    "made on the host: transformers/vision_utils",
    "read: transformers/vision_utils",
)
"""What is made on the host for images of new sizes, and remembered."""
IMAGES = (
    "read: qwen2_vl/modeling_qwen2_vl.get_placeholder_mask",
    "read: utils/import_utils.torch_compilable_check",
)
"""transformers counts image tokens in each pack with images."""


@pytest.fixture
def reads(monkeypatch):
    """Counts what waits in the parts of a step, from its rows to the optimizer's turn."""
    mode = HostReads()

    def watched(name):
        part = getattr(PackTrainer, name)

        def inside(*args, **kwargs):
            with mode:
                return part(*args, **kwargs)

        monkeypatch.setattr(PackTrainer, name, inside)

    for name in ("get_batch_samples", "training_step", "_clip_grad_norm", "_get_grad_norm"):
        watched(name)
    return mode.found


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, {"finetuning_type": "lora"}, {"loss_average": "token", "max_grad_norm": 0}])
def test_a_step_is_read_once(train, reads, tmp_path, keys):
    steps = len(train(tmp_path / "run", dataset="rooms,words", scene_packing=3, per_device_train_batch_size=5, **keys))
    outside = {
        place: times for place, times in reads.items() if "data/" not in place and not place.startswith(IMAGES + ONCE)
    }
    once = sum(times for place, times in reads.items() if place.startswith(ONCE))
    assert once <= 8 < 2 * steps, "two sets of sizes: those of a scene, and a blank image"
    assert steps == 6 and outside == {"read: training/finite.step": steps}


def test_a_read_would_be_counted():
    import torch

    with HostReads() as mode:
        one = torch.ones(3)
        assert one.sum() > 0
        one.tolist()
        one[one > 0]
        torch.tensor([1, 2])
    assert Counter(kind.partition(":")[0] for kind in mode.found.elements()) == {
        "read": 2,
        "index by a mask": 1,
        "made on the host": 1,
    }
