import torch

from gpt4scene.inference.slots import Slots


def test_slots_are_given_back_and_grow_only_as_needed():
    slots = Slots(128, torch.device("cpu"))
    shape = (2, 2, 4)
    assert slots.reserve(3, 70, shape, torch.float32).shape == (2, 2, 8, 2, 128, 4)
    slots.add([60, 70, 50], [1, 2, 3])
    grown = slots.reserve(100, 70, shape, torch.float32)
    assert grown.shape == (2, 2, 128, 2, 128, 4) and slots.lengths[:3].tolist() == [60, 70, 50]
    slots.keep([(0, 2)], 2)
    assert slots.known_lengths == [50, 70] == slots.lengths[:2].tolist() and slots.positions[:2].tolist() == [3, 2]
    assert slots.reserve(2, 500, shape, torch.float32).shape == (2, 2, 8, 2, 512, 4), "few long ones need few slots"
