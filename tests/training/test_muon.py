"""Muon and AdamW as one optimizer: the updates of LLaMA-Factory's formulas, and the same after a checkpoint."""

import copy

import torch

from gpt4scene.training.muon import MuonAndAdamW


def orthogonal(update):
    """Five steps of the quintic iteration, in fp32; LLaMA-Factory and torch take them in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = update
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


def theirs(weight, gradients, rate, decay, ahead=0.95):
    """LLaMA-Factory's update of a matrix: momentum 0.95 with Nesterov's look ahead, the size of AdamW's updates."""
    weight, buffer = weight.clone(), torch.zeros_like(weight)
    for gradient in gradients:
        buffer = buffer * 0.95 + gradient
        update = orthogonal(gradient + ahead * buffer)
        weight = weight * (1 - rate * decay)
        weight = weight - 0.2 * max(weight.shape) ** 0.5 * rate * update
    return weight


def parts():
    torch.manual_seed(0)
    return torch.nn.Parameter(torch.randn(12, 7)), torch.nn.Parameter(torch.randn(5))


def optimizer(matrix, vector):
    groups = [
        {"params": [vector], "lr": 1e-3, "weight_decay": 0.0},
        {"params": [matrix], "lr": 1e-2, "weight_decay": 0.1, "muon": True},
    ]
    return MuonAndAdamW(groups, lr=1e-2, betas=(0.8, 0.9), eps=1e-8)


def steps(one, matrix, vector, gradients):
    for gradient in gradients:
        matrix.grad, vector.grad = gradient.clone(), gradient[0, :5].clone()
        one.step()


def test_updates_are_those_of_the_formulas():
    matrix, vector = parts()
    plain = torch.nn.Parameter(vector.detach().clone())
    gradients = [torch.randn(12, 7) for _ in range(3)]
    wanted = theirs(matrix.detach(), gradients, 1e-2, 0.1)
    adam = torch.optim.AdamW([plain], lr=1e-3, betas=(0.8, 0.9), eps=1e-8, weight_decay=0.0)
    steps(optimizer(matrix, vector), matrix, vector, gradients)
    for gradient in gradients:
        plain.grad = gradient[0, :5].clone()
        adam.step()
    start = parts()[0]
    assert (matrix - wanted).norm() < 0.02 * (wanted - start).norm()
    other = theirs(start.detach(), gradients, 1e-2, 0.1, ahead=0.5)
    assert (other - wanted).norm() > 0.1 * (wanted - start).norm()
    assert torch.equal(vector, plain)


def test_a_schedule_and_a_checkpoint_reach_both_parts():
    gradients = [torch.randn(12, 7, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    matrix, vector = parts()
    whole = optimizer(matrix, vector)
    schedule = torch.optim.lr_scheduler.LambdaLR(whole, lambda step: 1 / (1 + step))
    steps(whole, matrix, vector, gradients[:2])
    schedule.step()
    assert [group["lr"] for group in whole.param_groups] == [5e-3, 5e-4]
    other = [torch.nn.Parameter(one.detach().clone()) for one in (matrix, vector)]
    resumed = optimizer(*other)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    steps(whole, matrix, vector, gradients[2:])
    steps(resumed, *other, gradients[2:])
    assert torch.equal(matrix, other[0]) and torch.equal(vector, other[1])
