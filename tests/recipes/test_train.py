"""The training recipe in one process: what it learns, what it leaves behind, and that it goes on exactly."""

import json
import shutil
import signal
from importlib.metadata import version

import pytest
import safetensors.torch
import torch
from transformers import AutoTokenizer

from gpt4scene.data.packs import collate
from gpt4scene.errors import ConfigError, DataError, Stopped
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model
from gpt4scene.report.training import page_at_end
from gpt4scene.settings.config import parse
from gpt4scene.training import sft
from gpt4scene.training.hf_arguments import training_arguments

WEIGHTS = "model.safetensors"


def weights(folder, name=WEIGHTS):
    return safetensors.torch.load_file(folder / name)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def plain_losses():
    """Losses of the plainest run, kept for comparison."""
    return []


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        {"per_device_train_batch_size": 8},
        {"scene_packing": 4},
        {"scene_packing": "auto"},
        {"scene_packing": 3},
        {"scene_packing": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {"scene_packing": 4, "disable_gradient_checkpointing": True, "dataloader_num_workers": 1},
    ],
    ids=["1x8", "8x1", "packs of 4", "auto", "uneven packs", "packs of 2", "no checkpointing"],
)
def test_every_way_to_cut_a_step_gives_the_same_losses(train, tmp_path, plain_losses, keys):
    found = train(tmp_path / "run", **keys)
    plain_losses[:] = plain_losses or found
    assert found == pytest.approx(plain_losses, rel=2e-6)
    assert found[2] < found[1] < found[0]


@pytest.mark.slow
def test_token_average_differs_and_is_exact_too(train, tmp_path, plain_losses):
    one_by_one = train(
        tmp_path / "one", loss_average="token", per_device_train_batch_size=1, gradient_accumulation_steps=8
    )
    packed = train(tmp_path / "packed", loss_average="token", scene_packing=4)
    assert packed == pytest.approx(one_by_one, rel=2e-6)
    assert abs(packed[0] - train(tmp_path / "row", num_train_epochs=1)[0]) > 1e-3


def test_losses_are_those_of_the_rows(train, tmp_path, workshop):
    first = train(tmp_path / "run", max_steps=1)[0]
    config = parse(
        f"--model_name_or_path {workshop}/model --dataset rooms --dataset_dir {workshop}/data --image_resolution 56 "
        f"--output_dir {tmp_path}/other".split()
    )
    data = sft.load_data(
        config, workshop / "model", AutoTokenizer.from_pretrained(workshop / "model"), training_arguments(config)
    )
    model, encoder = load_model(workshop / "model"), data.train.encoder
    by_row = []
    with torch.no_grad():
        for index in range(len(data.train)):
            batch = collate(data.train.pack([index]), encoder)
            by_row.append(row_losses(model, batch, encoder.vision))
    assert len(by_row) == 8
    assert first == pytest.approx(float(torch.cat(by_row).mean()), rel=1e-6)


@pytest.mark.slow
def test_a_run_explains_itself_and_its_checkpoint_loads(train, tmp_path, workshop):
    out = tmp_path / "run"
    train(
        out,
        val_size=0.5,
        eval_strategy="steps",
        eval_steps=1,
        plot_loss=True,
        save_strategy="steps",
        scene_packing=4,
        per_device_train_batch_size=4,
    )
    for folder in (out, out / "checkpoint-3"):
        assert '"use_cache": false' not in (folder / "config.json").read_text()
        assert len(AutoTokenizer.from_pretrained(folder)) > 200
        assert (folder / "preprocessor_config.json").read_bytes() == (
            workshop / "model/preprocessor_config.json"
        ).read_bytes()
        load_model(folder)
    assert equal(weights(out), weights(out / "checkpoint-3"))
    log = [json.loads(line) for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    assert [line["current_steps"] for line in log if "eval_loss" in line] == [1, 2, 3]
    results = json.loads((out / "all_results.json").read_text())
    assert results["eval_loss"] == log[-1]["eval_loss"] < log[1]["eval_loss"]
    assert (
        results["train_loss"] > 0 and (out / "train_results.json").is_file() and (out / "eval_results.json").is_file()
    )
    state = json.loads((out / "trainer_state.json").read_text())
    assert state["global_step"] == 3
    assert (out / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    run = json.loads((out / "run.json").read_text())
    assert run["status"] == "finished" and run["ended"] >= run["started"]
    assert run["data"]["rows"] == 4 and run["data"]["held_out"] == 4
    assert run["attention"].startswith("flash attention on the CPU of torch")
    assert run["parameters"]["all"] > run["parameters"]["trained"] > 10_000
    assert run["config"]["tuning"]["scene_packing"] == 4 and run["versions"]["torch"] == version("torch")


@pytest.mark.slow
def test_evaluation_loss_is_defined_as_the_training_loss(train, tmp_path):
    """The rows held out by seed 1, evaluated untrained, have the loss that training on them starts with."""
    keys = {"val_size": 0.5, "seed": 1, "learning_rate": 0.0, "num_train_epochs": 1, "per_device_train_batch_size": 4}
    losses = {}
    for packing, evaluated in ((1, 1), (4, 3)):
        out = tmp_path / f"run{packing}"
        train(out, **keys, scene_packing=packing, per_device_eval_batch_size=evaluated)
        losses[packing] = json.loads((out / "eval_results.json").read_text())["eval_loss"]
    whole = train(tmp_path / "all", num_train_epochs=1, learning_rate=0.0)[0]
    trained = train(tmp_path / "trained", **keys)[0]
    assert losses[1] == pytest.approx(losses[4], rel=1e-6)
    assert (losses[1] + trained) / 2 == pytest.approx(whole, rel=1e-6)


@pytest.mark.slow
def test_the_best_checkpoint_becomes_the_result(train, tmp_path):
    out = tmp_path / "run"
    train(
        out,
        val_size=0.5,
        eval_strategy="steps",
        save_strategy="steps",
        save_steps=1,
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # the loss falls with every step, so that the first one is not the last one
        learning_rate=1e-3,
        per_device_train_batch_size=4,
    )
    log = [json.loads(line) for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    evaluations = {line["current_steps"]: line["eval_loss"] for line in log if "eval_loss" in line}
    best = max(evaluations, key=evaluations.get)
    assert best == 1
    assert equal(weights(out), weights(out / f"checkpoint-{best}"))
    evaluation = json.loads((out / "eval_results.json").read_text())["eval_loss"]
    assert evaluation == pytest.approx(evaluations[best], rel=1e-6)
    assert not equal(weights(out), weights(out / "checkpoint-3"))


@pytest.mark.parametrize("kind", ["full", "lora", "bf16"])
@pytest.mark.slow
def test_resuming_in_the_middle_of_an_epoch_is_exact(train, tmp_path, kind):
    keys = {
        "per_device_train_batch_size": 2,
        "num_train_epochs": 2,
        "save_strategy": "steps",
        "save_steps": 3,
        "plot_loss": True,
    }
    keys |= {
        "full": {"scene_packing": 2},
        "lora": {"finetuning_type": "lora", "lora_dropout": 0.2},
        "bf16": {"bf16": True},
    }[kind]
    whole = train(tmp_path / "whole", **keys)
    assert len(whole) == 8
    for step in (3, 6):
        out = tmp_path / f"resumed{step}"
        rest = train(out, **keys, resume_from_checkpoint=tmp_path / f"whole/checkpoint-{step}")
        assert rest == whole[step:]
        name = "adapter_model.safetensors" if kind == "lora" else WEIGHTS
        assert equal(weights(tmp_path / "whole", name), weights(out, name))


@pytest.mark.slow
def test_a_small_learning_rate_moves_bf16_weights(train, tmp_path, workshop):
    """In bf16 alone, an update of 5e-6 is rounded away for most weights."""
    model = load_model(workshop / "model").to(torch.bfloat16)
    model.save_pretrained(tmp_path / "bf16")
    for file in (workshop / "model").glob("*.json"):
        if not (tmp_path / "bf16" / file.name).exists():
            shutil.copy(file, tmp_path / "bf16")
    keys = {
        "model_name_or_path": tmp_path / "bf16",
        "bf16": True,
        "learning_rate": 5e-6,
        "num_train_epochs": 4,
        "lr_scheduler_type": "constant",
        "save_strategy": "steps",
    }
    before = weights(tmp_path / "bf16")
    moved = {}
    for pure in (False, True):
        out = tmp_path / f"run{pure}"
        train(out, **keys, pure_bf16=pure)
        after = weights(out / "checkpoint-4")
        names = [name for name in before if "visual" not in name]
        assert all(torch.equal(after[name], before[name]) for name in before if "visual" in name)
        same = sum(int((after[name].float() == before[name].float()).sum()) for name in names)
        moved[pure] = 1 - same / sum(before[name].numel() for name in names)
        assert {tensor.dtype for tensor in weights(out).values()} == {torch.bfloat16}
    assert load_model(tmp_path / "runFalse").dtype == torch.bfloat16
    assert moved[False] > 0.6 > 0.3 > moved[True]


@pytest.mark.slow
def test_freeze_and_tower(train, tmp_path, workshop, plain_losses):
    before = weights(workshop / "model")
    changed = {}
    for name, keys in {
        "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
        "tower": {"freeze_vision_tower": False, "freeze_multi_modal_projector": False},
    }.items():
        train(tmp_path / name, **keys, num_train_epochs=1, scene_packing=4)
        after = weights(tmp_path / name)
        changed[name] = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed["freeze"] and all("layers.1." in key for key in changed["freeze"])
    assert any("visual.blocks" in key for key in changed["tower"])


@pytest.mark.slow
def test_the_seed_decides_adapters(train, tmp_path):
    keys = {"finetuning_type": "lora", "num_train_epochs": 2}
    torch.rand(3)
    first = train(tmp_path / "first", **keys)
    torch.rand(5)
    assert train(tmp_path / "second", **keys) == first
    assert train(tmp_path / "third", **keys, seed=5) != first


@pytest.mark.slow
def test_a_signal_saves_and_the_rest_follows(train, flags, tmp_path, capsys):
    keys = {"per_device_train_batch_size": 2, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 100}
    whole = train(tmp_path / "whole", **keys)
    with pytest.MonkeyPatch.context() as patch:
        original = sft.StopOnSignal.on_step_end

        def press(self, args, state, control, **rest):
            if state.global_step == 3:
                signal.raise_signal(signal.SIGINT)
            return original(self, args, state, control, **rest)

        patch.setattr(sft.StopOnSignal, "on_step_end", press)
        with pytest.raises(Stopped, match="SIGINT after step 3 of 8, saved in checkpoint-3") as stop:
            sft.run(parse(flags(tmp_path / "run", **keys)), page_at_end)
    page = (tmp_path / "run/index.html").read_text()
    assert stop.value.exit_status == 130 and "stopped by SIGINT after step 3 of 8" in page
    assert "--resume_from_checkpoint true" in page and f"--model {tmp_path}/run/checkpoint-3" in page
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "stopped"
    assert train(tmp_path / "run", **keys, resume_from_checkpoint=True) == whole
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "run"))


@pytest.mark.slow
def test_a_run_that_fails_at_its_start_leaves_an_earlier_one_as_it_is(train, flags, tmp_path):
    out = tmp_path / "run"
    assert sft.run(parse(flags(out, num_train_epochs=1, save_strategy="steps")), page_at_end) == 0
    assert (out / "index.html").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for wrong in ({"cutoff_len": 3}, {"finetuning_type": "lora", "lora_target": "q_prox"}, {"dataset": "none"}):
        with pytest.raises((DataError, ConfigError)):
            sft.run(parse(flags(out, overwrite_output_dir=True, **wrong)), page_at_end)
        with pytest.raises((DataError, ConfigError)):
            sft.run(parse(flags(tmp_path / "new", **wrong)), page_at_end)
    with pytest.raises(DataError, match="learning_rate was 0.001 and is 0.1"):
        sft.run(parse(flags(out, resume_from_checkpoint=True, learning_rate=0.1, num_train_epochs=2)))
    with pytest.raises(ConfigError, match="metric_for_best_model loss_words is not among"):
        wrong = {"metric_for_best_model": "loss_words", "eval_strategy": "epoch", "val_size": 4}
        sft.run(parse(flags(out, overwrite_output_dir=True, **wrong)))
    with pytest.raises(DataError, match="can't be repeated: image_resolution was 56 and is 84"):
        sft.main(["--from", str(out), "--overwrite_output_dir", "true", "--image_resolution", "84"])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_folder_with_a_run_is_not_overwritten_unasked(train, flags, tmp_path, workshop):
    keys = {"num_train_epochs": 1, "save_strategy": "steps"}
    train(tmp_path / "run", **keys)
    with pytest.raises(DataError, match="already holds a run.*resume_from_checkpoint.*overwrite_output_dir"):
        sft.run(parse(flags(tmp_path / "run", **keys)))
    with pytest.raises(DataError, match=r"scene_packing was 1 and is 2.*ignore_data_skip"):
        sft.run(parse(flags(tmp_path / "run", **keys, scene_packing=2, resume_from_checkpoint=True)))
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "finished", "the earlier run's own"
    assert len(train(tmp_path / "run", **keys, max_steps=2, overwrite_output_dir=True)) == 2
    assert not (tmp_path / "run/checkpoint-1").exists() and (tmp_path / "run/checkpoint-2").is_dir()
    with pytest.raises(DataError, match="no complete checkpoint to resume from"):
        sft.run(parse(flags(tmp_path / "empty", resume_from_checkpoint=True)))


@pytest.mark.slow
def test_tokenized_rows_train_alike(train, flags, tmp_path, monkeypatch, capsys):
    keys = {
        "tokenized_path": tmp_path / "tokens",
        "scene_packing": 2,
        "num_train_epochs": 1,
        "val_size": 0.5,
        "per_device_train_batch_size": 4,
    }
    assert sft.run(parse(flags(tmp_path / "run", **keys, tokenize_only=True))) == 0
    assert "training was not started" in capsys.readouterr().err
    assert (tmp_path / "tokens").is_dir() and not (tmp_path / "run" / WEIGHTS).exists()
    read = train(tmp_path / "run", **keys)
    assert read == train(tmp_path / "lazy", **keys | {"tokenized_path": tmp_path / "fresh"})
    with pytest.raises(DataError, match=r"image_resolution \(56 there, 84 now\)"):
        sft.run(parse(flags(tmp_path / "other", **keys | {"image_resolution": 84})))
    monkeypatch.setattr("gpt4scene.training.sft.LARGE", 1000)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert sft.run(parse(flags(tmp_path / "large", **keys))) == 0
    assert "over 1 billion parameters needs an accelerator" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_a_image_that_breaks_later_is_one_sentence(train, flags, tmp_path, workshop, workers):
    data = tmp_path / "data"
    shutil.copytree(workshop / "data", data)
    image = data / "scene1_0.png"
    image.write_bytes(image.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"scene1_0\.png") as error:
        sft.run(parse(flags(tmp_path / "run", dataset_dir=data, dataloader_num_workers=workers)))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("loss_average", ["row", "token"])
def test_packs_leave_the_questions_of_a_step_alone(train, flags, tmp_path, workshop, capsys, loss_average):
    """Rows without images, three of four that share a pack, a last step of what is left: steps count questions."""
    keys = {
        "dataset": "words,rooms",
        "per_device_train_batch_size": 3,
        "loss_average": loss_average,
        "num_train_epochs": 1,
        "learning_rate": 0.0,
    }
    for packing in (1, 3):
        out = tmp_path / f"run{packing}"
        assert len(train(out, **keys, scene_packing=packing)) == 4  # 10 rows, 3 a step
        assert "3 questions a step (3 on each of 1 processes" in capsys.readouterr().err
    whole = keys | {"per_device_train_batch_size": 10}
    one_by_one = train(tmp_path / "one", **whole)
    assert train(tmp_path / "packed", **whole, scene_packing=10) == pytest.approx(one_by_one, rel=2e-6)
    assert train(tmp_path / "packed5", **whole, scene_packing=5) == pytest.approx(one_by_one, rel=2e-6)
