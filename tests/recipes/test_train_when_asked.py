"""A run does what it is told: it trains, evaluates alone, or says that nothing would be done; no launcher is needed."""

import importlib.util
import json
import subprocess

import pytest

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.settings.config import parse
from gpt4scene.training import sft

pytestmark = pytest.mark.slow

HELD_OUT = {"val_size": 0.5, "seed": 1}


def figures(folder):
    return json.loads((folder / "eval_results.json").read_text())


def test_do_eval_alone_evaluates_the_held_out_rows_and_trains_nothing(train, flags, tmp_path, capsys):
    train(tmp_path / "trained", **HELD_OUT, learning_rate=0.0, num_train_epochs=1, per_device_train_batch_size=4)
    out = tmp_path / "evaluated"
    assert sft.run(parse(flags(out, **HELD_OUT, do_eval="true"))) == 0
    assert figures(out)["eval_loss"] == pytest.approx(figures(tmp_path / "trained")["eval_loss"], rel=1e-6)
    assert "4 held-out rows, not trained" in capsys.readouterr().err
    left = {path.name for path in out.iterdir()}
    assert not left & {"model.safetensors", "train_results.json", "trainer_state.json", "trainer_log.jsonl"}
    assert json.loads((out / "run.json").read_text())["status"] == "finished"


def test_do_eval_alone_evaluates_an_adapter(train, flags, tmp_path):
    train(tmp_path / "adapter", **HELD_OUT, finetuning_type="lora", per_device_train_batch_size=4)
    keys = HELD_OUT | {"finetuning_type": "lora", "adapter_name_or_path": tmp_path / "adapter"}
    sft.run(parse(flags(tmp_path / "evaluated", **keys, do_train="false", do_eval="true")))
    assert figures(tmp_path / "evaluated")["eval_loss"] == pytest.approx(
        figures(tmp_path / "adapter")["eval_loss"], rel=1e-6
    )


def test_do_eval_false_trains_without_evaluating(train, tmp_path):
    train(tmp_path / "run", **HELD_OUT, do_eval="false", num_train_epochs=1)
    assert not (tmp_path / "run" / "eval_results.json").exists()


def test_do_train_false_and_nothing_else_is_refused_before_any_work(flags, tmp_path):
    with pytest.raises(ConfigError, match="nothing would be done"):
        parse(flags(tmp_path / "run", do_train="false"))
    assert not (tmp_path / "run").exists()


def test_disable_tqdm_leaves_the_progress_out(train, tmp_path, capsys):
    train(tmp_path / "loud", num_train_epochs=1)
    assert "step 1/1" in capsys.readouterr().err
    train(tmp_path / "quiet", num_train_epochs=1, disable_tqdm="true")
    assert "step 1/1" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "changes"),
    [
        ({"neftune_noise_alpha": 5}, True),
        ({"optim": "adafactor"}, True),
        ({"weight_decay": 0.5}, True),
        ({"adam_beta1": 0.5}, True),
        ({"warmup_steps": 2}, True),
        ({"lr_scheduler_type": "constant"}, True),
        ({"torch_empty_cache_steps": 1}, False),
        ({"full_determinism": True}, False),
        ({"debug": "underflow_overflow"}, False),
    ],
    ids=str,
)
def test_fields_that_are_passed_on_are_obeyed_on_packs(train, tmp_path, keys, changes):
    plain = train(tmp_path / "plain")
    assert (train(tmp_path / "run", **keys) != pytest.approx(plain, rel=1e-9)) == changes


@pytest.mark.parametrize(
    ("keys", "figure"),
    [
        ({"include_num_input_tokens_seen": "all"}, "num_input_tokens_seen"),
        ({"skip_memory_metrics": "false"}, "init_mem_cpu_alloc_delta"),
    ],
)
def test_fields_that_add_figures(train, tmp_path, keys, figure):
    train(tmp_path / "run", **keys, num_train_epochs=1)
    assert figure in json.loads((tmp_path / "run" / "train_results.json").read_text())


@pytest.mark.parametrize("keys", [{"deepspeed": True}, {"fsdp": "full_shard"}], ids=["deepspeed", "fsdp"])
def test_one_process_needs_no_launcher(python, train, flags, environment, losses_of, tmp_path, keys, request):
    if "deepspeed" in keys:
        if importlib.util.find_spec("deepspeed") is None:
            pytest.skip("DeepSpeed is not installed")
        keys = {"deepspeed": request.config.rootpath / "examples/deepspeed/ds_z3_config.json"}
    plain = train(tmp_path / "plain")
    clean = {name: value for name, value in environment.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    words = [python, "-m", "gpt4scene", "train", *flags(tmp_path / "alone", **keys)]
    done = subprocess.run(words, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert losses_of(tmp_path / "alone") == pytest.approx(plain, rel=1e-5)


def test_other_data_sets_are_held_out_and_what_they_share_is_counted(train, tmp_path, workshop):
    out, keys = tmp_path / "run", {"num_train_epochs": 1, "learning_rate": 0.0, "per_device_train_batch_size": 8}
    losses = train(out, **keys, eval_dataset="rooms,words", eval_strategy="epoch", eval_generate=2)
    run = json.loads((out / "run.json").read_text())
    data, rows = run["data"], 8
    assert data["rows"] == rows and data["held_out"] > rows and data["held_out_with_trained_images"] == rows
    assert any(f"{rows} of {data['held_out']} rows of eval_dataset show images" in one for one in run["advice"])
    figures = json.loads((out / "eval_results.json").read_text())
    assert figures["eval_loss_rooms"] == pytest.approx(losses[0], rel=1e-6), "the same rows as those trained on"
    assert {"eval_loss_words", "eval_exact_match"} <= figures.keys()
    words = json.loads((workshop / "data" / "words.json").read_text())
    (workshop / "data" / "words.json").write_text(json.dumps(words[:-1]))
    try:
        with pytest.raises(DataError, match="held out: dataset files of the rows differ: words"):
            sft.run(parse(["--from", str(out / "run.json"), "--output_dir", str(tmp_path / "again")]))
    finally:
        (workshop / "data" / "words.json").write_text(json.dumps(words))
