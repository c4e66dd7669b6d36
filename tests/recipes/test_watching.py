"""What a run shows while it goes, and that it can be repeated from its own record."""

import json

import pytest
import torch
from launching import deepspeed_config, needs_deepspeed
from safetensors.torch import load_file

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.report.run_page import write_run_page
from gpt4scene.settings.config import parse
from gpt4scene.training import sft
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.tracking import flat_settings, open_trackers
from gpt4scene.types import Question


@pytest.mark.slow
def test_a_run_is_repeated_to_the_bit(train, workshop, tmp_path, capsys):
    keys = {"finetuning_type": "lora", "lora_dropout": 0.2, "scene_packing": "auto", "per_device_train_batch_size": 4}
    first = train(tmp_path / "first", **keys, seed=3)
    assert sft.main(["--from", str(tmp_path / "first"), "--output_dir", str(tmp_path / "second")]) == 0
    lines = [(tmp_path / name / "trainer_log.jsonl").read_text().splitlines() for name in ("first", "second")]
    assert [[json.loads(line)["loss"] for line in one] for one in lines] == [first, first]
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("first", "second"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert json.loads((tmp_path / "second/run.json").read_text())["config"]["repeats"] == str(
        tmp_path / "first/run.json"
    )
    with pytest.raises(DataError, match="already holds a run"):
        sft.main(["--from", str(tmp_path / "first/run.json")])
    words = ["--from", str(tmp_path / "first"), "--output_dir", str(tmp_path / "third"), "--image_resolution", "84"]
    with pytest.raises(DataError, match=r"can't be repeated: image_resolution was 56 and is 84"):
        sft.main(words)
    assert not (tmp_path / "third/model.safetensors").exists()
    capsys.readouterr()
    assert sft.run(parse([*words, "--accept_changes"])) == 0
    assert "image_resolution was 56 and is 84" in capsys.readouterr().err


ANSWERS = ("Red.", "Two lamps on a table.", "A chair.", "No.")


def log_of(folder):
    return [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_answers_leave_the_training_alone(train, tmp_path, workshop, capsys):
    """Losses and weights are the same to the bit with and without answers, whose words are the engine's own."""
    keys = {"dataset": "rooms,words", "scene_packing": 2, "per_device_train_batch_size": 2, "val_size": 0.4}
    keys |= {"finetuning_type": "lora", "lora_dropout": 0.2, "eval_strategy": "epoch", "num_train_epochs": 2}
    for bf16 in (False, True):
        plain, asked = tmp_path / f"plain{bf16}", tmp_path / f"asked{bf16}"
        losses = train(plain, **keys, bf16=bf16)
        assert train(asked, **keys, bf16=bf16, eval_generate=3, eval_generate_tokens=6) == losses
        one, other = (load_file(folder / "adapter_model.safetensors") for folder in (plain, asked))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert "answers to 3 held-out questions after step" in capsys.readouterr().err
    answers = [json.loads(line) for line in (asked / "eval_answers.jsonl").read_text().splitlines()]
    evaluations = [line for line in log_of(asked) if "eval_loss" in line]
    assert [line["step"] for line in answers] == [line["current_steps"] for line in evaluations for _ in range(3)]
    assert {line["task"] for line in answers} == {"rooms", "words"}
    assert all(0 <= line["eval_word_f1"] <= 1 and "eval_exact_match_words" in line for line in evaluations)
    rows = [line["row"] for line in answers]
    assert rows[:3] == rows[3:], "the same questions at every evaluation"
    page = write_run_page(asked).read_text()
    assert "Loss by task" in page and "3 of 3 held-out questions" in page and "Exact match by task" in page
    results = json.loads((asked / "eval_results.json").read_text())
    assert results["eval_exact_match"] == evaluations[-1]["eval_exact_match"]


@pytest.mark.slow
def test_the_best_checkpoint_is_chosen_by_answers(train, flags, tmp_path, workshop):
    keys = {"scene_packing": 4, "per_device_train_batch_size": 4, "val_size": 0.5, "num_train_epochs": 16}
    keys |= {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 4,
        "learning_rate": 5e-3,
    }
    keys |= {"eval_generate": 0.99, "eval_generate_tokens": 12, "load_best_model_at_end": True}
    out = tmp_path / "run"
    train(out, **keys, metric_for_best_model="exact_match")
    lines = [line for line in log_of(out) if "eval_loss" in line]
    by_answers = max(lines[:4], key=lambda line: line["eval_exact_match"])
    by_loss = min(lines[:4], key=lambda line: line["eval_loss"])
    assert by_answers["eval_exact_match"] > 0 and by_answers["current_steps"] != by_loss["current_steps"]
    state = json.loads((out / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"].endswith(f"checkpoint-{by_answers['current_steps']}")
    assert json.loads((out / "eval_results.json").read_text())["eval_loss"] == by_answers["eval_loss"]
    with pytest.raises(ConfigError, match=r"exact_matsh is not among the figures.*did you mean 'exact_match'"):
        sft.run(parse(flags(tmp_path / "other", **keys, metric_for_best_model="exact_matsh")))
    config = parse(flags(tmp_path / "other", **keys | {"model_name_or_path": out}))
    data = sft.load_data(config, out, load_tokenizer(out), training_arguments(config))
    engine = Engine(Scheduler(load_model(out), data.train.encoder))
    assert [line.get("eval_best_step") for line in lines] == [None] * 4 + [by_answers["current_steps"]]
    answers = [json.loads(line) for line in (out / "eval_answers.jsonl").read_text().splitlines()]
    assert [line["step"] for line in answers] == [step for step in (4, 8, 12, 16) for _ in range(4)], "each step once"
    rows = [line for line in answers if line["step"] == by_answers["current_steps"]]
    scene = int(rows[0]["row"].removeprefix("rooms/")) // 4
    images = tuple(str(workshop / f"data/scene{scene}_{index}.png") for index in range(2))
    asked = [Question("rooms", index, "scene", row["question"], images) for index, row in enumerate(rows)]
    said = {one.question.index: one.text for one in engine.answer(asked, GenerationSettings(max_new_tokens=12))}
    assert [said[index] for index in range(4)] == [row["answer"] for row in rows]
    engine.scheduler.close()


@pytest.mark.slow
def test_figures_of_tasks_are_the_same_however_a_step_is_cut(train, tmp_path):
    keys = {
        "dataset": "rooms,words",
        "val_size": 0.4,
        "eval_strategy": "epoch",
        "num_train_epochs": 2,
        "eval_generate": 3,
    }
    keys |= {"eval_generate_tokens": 3, "seed": 1}
    for average in ("row", "token"):
        found = []
        for way in ({}, {"scene_packing": 4}, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}):
            out = tmp_path / f"{average}{len(found)}"
            train(out, **keys | way, loss_average=average)
            lines = log_of(out)
            found.append([{name: line[name] for name in line if "loss" in name or "match" in name} for line in lines])
        assert {"loss", "loss_rooms", "loss_words"} <= found[0][0].keys()
        for other in found[1:]:
            assert all(one == pytest.approx(same, rel=1e-5) for one, same in zip(found[0], other, strict=True)), average


@pytest.mark.slow
@needs_deepspeed
def test_two_processes_log_what_one_does(train, on_two, tmp_path):
    """Losses of tasks are the same however rows are shared out, and so are scores of answers; under ZeRO-2, too."""
    keys = {"dataset": "rooms,words", "val_size": 0.4, "eval_strategy": "epoch", "num_train_epochs": 2, "seed": 1}
    keys |= {"eval_generate": 3, "eval_generate_tokens": 4, "logging_steps": 1, "loss_average": "token"}
    keys |= {"save_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss_rooms"}
    train(tmp_path / "one", **keys, per_device_train_batch_size=4)
    with pytest.raises(ConfigError, match="loss_words is not among the figures"):  # no row of it is held out
        train(tmp_path / "none", **keys | {"metric_for_best_model": "loss_words"})
    half = keys | {"per_device_train_batch_size": 2}
    runs = on_two({"two": half, "zero2": half | {"deepspeed": deepspeed_config(tmp_path, 2)}})
    one = log_of(tmp_path / "one")
    names = [name for name in one[0] | one[-1] if "loss" in name or "match" in name]
    assert {"loss_rooms", "loss_words", "eval_loss_rooms", "eval_exact_match"} <= set(names)
    for folder in runs.values():
        for first, second in zip(one, log_of(folder), strict=True):
            assert {name: first[name] for name in names if name in first} == pytest.approx(
                {name: second[name] for name in names if name in second}, rel=2e-5
            )
        assert (tmp_path / "one/eval_answers.jsonl").read_text() == (folder / "eval_answers.jsonl").read_text()


@pytest.mark.slow
def test_trackers_write_files_without_a_network(train, flags, tmp_path, monkeypatch, capsys):
    """One run, four trackers, each offline: figures, settings and answers are in their files."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": home, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")
    for name in ("WANDB_API_KEY", "MLFLOW_TRACKING_URI", "SWANLAB_API_KEY", "SWANLAB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for module in ("tensorboard", "wandb", "mlflow", "swanlab"):
        pytest.importorskip(module)
    keys = {"dataset": "rooms,words", "val_size": 0.4, "eval_strategy": "epoch", "num_train_epochs": 2}
    keys |= {
        "eval_generate": 3,
        "eval_generate_tokens": 4,
        "report_to": "tensorboard,wandb,mlflow",
        "run_name": "first",
    }
    keys |= {
        "use_swanlab": True,
        "swanlab_mode": "offline",
        "swanlab_logdir": tmp_path / "swan",
        "logging_dir": "board",
    }
    losses = train(tmp_path / "run", **keys)
    line = log_of(tmp_path / "run")[-1]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    assert [round(event.value, 5) for event in board.Scalars("train/loss")] == [round(loss, 5) for loss in losses]
    assert board.Scalars("eval/loss_rooms")[-1].value == pytest.approx(line["eval_loss_rooms"])
    assert {"train/learning_rate", "train/tokens_per_second", "eval/exact_match"} <= set(board.Tags()["scalars"])
    assert {"settings/text_summary", "answers/text_summary"} <= set(board.Tags()["tensors"])

    (run,) = tmp_path.glob("mlruns/*/*/meta.yaml")
    assert "run_name: first" in run.read_text() and "status: 3" in run.read_text(), "finished"
    assert [float(row.split()[1]) for row in (run.parent / "metrics/loss").read_text().splitlines()] == losses
    assert (run.parent / "params/learning_rate").read_text() == "0.001"
    assert json.loads((run.parent / "artifacts/settings.json").read_text())["eval_generate"] == 3
    assert "| task | question | truth | answer |" in (run.parent / "artifacts/answers/step_2.md").read_text()

    (bundle,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = bundle.read_bytes()
    for text in ("train/loss", "eval/loss_words", "train/learning_rate", str(losses[0]), "image_resolution", "first"):
        assert text.encode() in content, text
    assert list(bundle.parent.glob("files/media/table/eval/answers_*.json"))

    (swan,) = (tmp_path / "swan").glob("run-*")
    assert "image_resolution" in (swan / "files/config.yaml").read_text()
    assert all(name in next(swan.glob("*.swanlab")).read_bytes() for name in (b"train/loss", b"eval/exact_match"))

    import mlflow

    monkeypatch.setenv("MLFLOW_RUN_ID", run.parent.name)  # goes on with that run, whose settings are kept
    again = parse(flags(tmp_path / "run", report_to="mlflow", learning_rate=5e-4))
    open_trackers(again, flat_settings(again), print).close("finished")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert (run.parent / "params/learning_rate").read_text() == "0.001" and len(
        list(tmp_path.glob("mlruns/*/*/meta.yaml"))
    ) == 1
    mlflow.set_tracking_uri("http://127.0.0.1:9")  # nobody listens there
    try:
        with pytest.raises(ConfigError, match="report_to: mlflow could not begin .*correct MLFLOW_TRACKING_URI"):
            sft.run(parse(flags(tmp_path / "other", report_to="mlflow")))
    finally:
        mlflow.set_tracking_uri(None)
    assert not (tmp_path / "other/trainer_log.jsonl").exists()


@pytest.mark.slow
def test_pairs_are_asked_for_the_better_answer(train, tmp_path):
    """Answers beside preferences: the truth is the chosen one, and a pair counts as one question of the speed."""
    keys = {"dataset": "pairs", "stage": "dpo", "finetuning_type": "lora", "val_size": 0.5, "eval_strategy": "epoch"}
    train(tmp_path / "run", **keys, num_train_epochs=1, eval_generate=2, eval_generate_tokens=4)
    first, evaluation = log_of(tmp_path / "run")[:2]
    page = write_run_page(tmp_path / "run").read_text()
    assert all(
        f">{title}</figcaption>" in page for title in ("Rewards of pairs of answers", "Rewards of held-out pairs")
    )
    assert "export --model" in page, "adapters"
    assert 0 <= evaluation["eval_word_f1"] <= 1
    answers = [json.loads(line) for line in (tmp_path / "run/eval_answers.jsonl").read_text().splitlines()]
    assert len(answers) == 2 and {line["truth"] for line in answers} <= {*ANSWERS}
    per_question = first["tokens_per_second"] / first["questions_per_second"]
    assert per_question > 2 * 20, "both answers of a pair, and the scene"
