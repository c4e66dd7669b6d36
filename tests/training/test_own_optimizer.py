"""What optimizers of low-rank gradients keep is where their parameters are, once a checkpoint is read."""

import pytest
import torch

from gpt4scene.training.own_optimizer import bring_projectors


@pytest.mark.parametrize("kind", ["std", "full", "random"])
def test_matrices_of_projectors_come_to_their_parameters(kind):
    if kind == "random":
        made = pytest.importorskip("apollo_torch.random_projector").GradientProjector(2)
    else:
        made = pytest.importorskip("galore_torch.galore_projector").GaLoreProjector(2, proj_type=kind)
    low = made.project(torch.randn(4, 6), 0)
    parameter = torch.nn.Parameter(torch.empty(4, 6, device="meta"))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    optimizer.state[parameter]["projector"] = made
    bring_projectors(optimizer)
    assert made.project(torch.empty(4, 6, device="meta"), 1).device.type == "meta"
    held = made.ortho_matrix if kind == "full" else [made.ortho_matrix]
    assert all(one.device.type == "meta" for one in held) and low.shape == (2, 2 if kind == "full" else 6)
