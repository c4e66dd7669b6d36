"""How fast a run is, by a clock of the test's own."""

from types import SimpleNamespace

import pytest
import torch

from gpt4scene.settings.config import parse
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.speed import Speed, in_half, operations_of, peak_memory, peak_of

CPU = torch.device("cpu")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def batch(tokens):
    return SimpleNamespace(input_ids=torch.zeros(1, tokens))


def alone(numbers):
    return numbers


def test_questions_tokens_and_waiting_are_counted():
    clock = Clock()
    speed = Speed(CPU, 0, 1, clock=clock)
    speed.begin()
    speed.loaded([None, batch(900), batch(100)], 5, waited=0.5)
    clock.now = 2.0
    figures = speed.take(alone)
    assert figures.pop("peak_memory_gb") == pytest.approx(peak_memory(CPU) / 1e9, rel=0.1)
    assert figures == {"questions_per_second": 2.5, "tokens_per_second": 500.0, "data_wait_share": 0.25}


def test_evaluations_are_left_out_and_totals_are_those_of_all_steps():
    clock = Clock()
    speed = Speed(CPU, 0, 1, clock=clock)
    for seconds in (1.0, 3.0):
        with speed.paused():
            clock.now += 100.0
        speed.loaded([batch(60)], 2, waited=0.0)
        clock.now += seconds
        assert speed.take(alone)["questions_per_second"] == pytest.approx(2 / seconds, abs=1e-3)
    assert speed.total()["questions_per_second"] == 1.0 and speed.total()["tokens_per_second"] == 30.0


def test_figures_are_those_of_all_processes():
    clock = Clock()
    speed = Speed(CPU, 1, 2, operations=lambda one: 6e12, peak=1e12, clock=clock)
    speed.loaded([batch(60)], 2, waited=1.0)
    clock.now = 4.0
    figures = speed.take(lambda here: here * torch.tensor([2, 2, 2, 2, 1, 1]))
    assert figures["questions_per_second"] == 1.0 and figures["data_wait_share"] == 0.25
    assert figures["utilisation"] == 1.5, "12e12 operations in 4 s on two devices of 1e12"


def test_utilisation_needs_a_known_device():
    speed = Speed(CPU, 0, 1, operations=lambda one: 1e12, peak=None)
    speed.loaded([batch(60)], 2, waited=0.0)
    assert "utilisation" not in speed.take(alone)
    assert Speed(CPU, 0, 1).total() == {}


@pytest.mark.parametrize(
    ("name", "memory", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 80e9, 989e12),
        ("NVIDIA H100 PCIe", 80e9, None),
        ("NVIDIA H200", 141e9, 989e12),
        ("NVIDIA A100-SXM4-80GB", 80e9, 312e12),
        ("NVIDIA A100-PCIE-40GB", 40e9, 312e12),
        ("NVIDIA GeForce RTX 4090", 24e9, 165e12),
        ("NVIDIA GeForce RTX 4090 D", 24e9, None),
        ("Tesla T4", 16e9, None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 40e9, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10e9, None),
    ],
)
def test_data_sheets(name, memory, peak):
    assert peak_of(name, memory) == peak


def test_half_precision_is_known_for_every_way_to_ask_for_it():
    least = ["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o", "--finetuning_type", "full"]
    for flag, half in (("--bf16", True), ("--pure_bf16", True), ("--tf32 false", False)):
        config = parse([*least, *flag.split()])
        assert in_half(config, training_arguments(config)) == half, flag


def test_operations_grow_with_what_is_computed():
    from gpt4scene.families.shape import PUBLISHED
    from gpt4scene.training.memory import Setup

    model = PUBLISHED["Qwen2-VL-2B"]
    count = operations_of(model, Setup(method="full", precision="bf16", trained=model.parameters, kept_layers=28))

    def pack(prefix, lengths, patches):
        layout = SimpleNamespace(prefix_length=prefix, lengths=lengths, branch_tokens=sum(lengths))
        return SimpleNamespace(layout=layout, pixel_values=range(patches), label_ids=range(8))

    once, known = count(pack(8000, (100,), 32000)), count(pack(8000, (100,), 0))
    four = count(pack(8000, (100, 90, 80, 70), 32000))
    assert known < once < four < 1.2 * once, "the prefix counts once, and so do images; kept features cost nothing"
    assert 6 * 1.3e9 * 8100 < known < 6 * 3e9 * 8100, "about six operations a weight and token"
    setup = Setup(method="full", precision="bf16", trained=model.parameters, kept_layers=28)
    reference = operations_of(model, setup, refers=True)(pack(8000, (100,), 32000)) - once
    assert known / 3.5 < reference < known / 3, "one pass beside two or, of attention, 2.5 of the backward pass"
