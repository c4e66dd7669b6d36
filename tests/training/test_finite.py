"""What of losses, gradients and weights stops a run, and what is legitimate."""

import math

import pytest
import torch

from gpt4scene.errors import DataError
from gpt4scene.training.finite import ENDLESS_SKIPS, Judged, RefuseBrokenStart, Watch, broken_tensors
from gpt4scene.types import Origin

ROWS = tuple(Origin("rooms", "rows.json", row) for row in range(8))
NONE = (math.nan, math.inf, -math.inf)


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path, torch.device("cpu"), fp16=False)


@pytest.fixture
def watch_fp16(tmp_path):
    return Watch(tmp_path, torch.device("cpu"), fp16=True)


@pytest.mark.parametrize("number", NONE)
def test_a_loss_that_is_none_is_named_with_its_row(watch, number):
    watch.losses.add(torch.tensor([1.0, 2.0]), ROWS[:2])
    watch.losses.add(torch.tensor([1.0, number, 3.0]), (*ROWS[2:4], None))
    with pytest.raises(
        DataError, match=rf"step 7: the loss .*\(rows.json, row 3 \(dataset 'rooms'\): {number}\)"
    ) as error:
        watch.step(7, 1.0)
    assert "row 2" not in str(error.value) and "no checkpoint from before" in str(error.value)


@pytest.mark.parametrize("number", NONE)
@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_a_gradient_that_is_none_stops_with_the_rows_of_the_step(watch, number, kind):
    watch.losses.add(torch.tensor([1.0]), ROWS[:1])
    watch.step(1, 0.5)
    watch.losses.add(torch.ones(8), ROWS)
    with pytest.raises(DataError, match=r"step 2: the gradient.*row 0.*row 4.*and 3 more"):
        watch.step(2, kind(number))


def test_a_step_is_judged_alone(watch):
    for number, norm in enumerate((0.0, 1e30, None)):
        watch.losses.add(torch.tensor([1e30]), ROWS[:1])
        watch.step(number, norm)


def test_fp16_may_skip_steps_but_not_for_ever(watch_fp16):
    for _ in range(3):
        for _ in range(ENDLESS_SKIPS - 1):
            watch_fp16.step(1, math.inf)
        watch_fp16.step(2, 1.0)
    for _ in range(ENDLESS_SKIPS - 1):
        watch_fp16.step(3, math.nan)
    with pytest.raises(DataError, match="step 4: .*in 40 steps one after the other.*use bf16"):
        watch_fp16.step(4, math.inf)


def test_fp16_excuses_no_loss(watch_fp16):
    watch_fp16.losses.add(torch.tensor([math.nan]), ROWS[:1])
    with pytest.raises(DataError, match="the loss"):
        watch_fp16.step(1, math.inf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("number", NONE)
def test_broken_weights_are_named(watch, dtype, number):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).to(dtype)
    watch.weights(3, model)
    assert broken_tensors(model.named_parameters()) == []
    model[1].weight.data[2, 1] = number
    model[0].requires_grad_(False)
    with pytest.raises(DataError, match=r"after step 3: weights.*\(1\.weight\)"):
        watch.weights(3, model)


def test_integers_and_empty_tensors_have_no_broken_numbers():
    assert broken_tensors([("n", torch.tensor([3])), ("none", torch.empty(0))]) == []


def test_the_last_good_checkpoint_is_named(watch, tmp_path):
    for step in (2, 10, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step < 12:
            (tmp_path / f"checkpoint-{step}" / "batches.json").write_text("{}")
    with pytest.raises(DataError, match=r"last good checkpoint is .*checkpoint-10\. Start anew from that checkpoint"):
        watch.step(13, math.nan)


def test_a_memory_that_is_none_is_found_where_a_run_goes_on():
    from types import SimpleNamespace

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.state[model.bias]["exp_avg_sq"][0] = math.inf
    look = RefuseBrokenStart("runs/checkpoint-5").on_train_begin
    given = {"model": model, "optimizer": optimizer}
    arguments = SimpleNamespace(device=torch.device("cpu"))
    look(arguments, SimpleNamespace(global_step=0), None, **given)
    with pytest.raises(DataError, match=r"runs/checkpoint-5: .*the optimizer's exp_avg_sq"):
        look(arguments, SimpleNamespace(global_step=5), None, **given)


def test_a_step_tells_what_was_read(watch):
    watch.losses.add(torch.ones(2), ROWS[:2])
    assert watch.step(1, torch.tensor(0.5)) == Judged(0.5, 0)
    assert watch.step(2, 0.25, signal=15) == Judged(0.25, 15)
    assert watch.step(3, None) == Judged(None, 0)


def test_rows_that_could_not_be_read_stop_before_anything_else_is_judged(watch):
    watch.losses.add(torch.tensor([math.nan]), ROWS[:1])
    with pytest.raises(DataError, match="no such image"):
        watch.step(1, math.nan, failed=DataError("no such image"))
