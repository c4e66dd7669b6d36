"""Means of further figures: weighed by rows, whatever packs they came in."""

import torch

from gpt4scene.training.means import Means


def test_means_are_weighed_and_begin_anew():
    means = Means(("margin", "right"), torch.device("cpu"))
    means.add({"margin": torch.tensor([1.0, 2.0]), "right": torch.tensor([1.0, 0.0])}, torch.ones(2))
    means.add({"margin": torch.tensor([6.0, 100.0]), "right": torch.tensor([1.0, 1.0])}, torch.tensor([1.0, 0.0]))
    assert means.take(lambda sums: sums) == {"margin": 3.0, "right": 2 / 3}
    assert means.take(lambda sums: sums) == {}, "no row since"
    assert Means((), torch.device("cpu")).take(lambda sums: sums) == {}
