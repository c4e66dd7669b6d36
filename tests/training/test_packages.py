"""Packages that are not there are found before any work, as one sentence each."""

import importlib.util

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse
from gpt4scene.training import packages, sft
from gpt4scene.training.packages import REPORTERS, missing_packages

LEAST = "--model_name_or_path m --dataset d --output_dir o --finetuning_type full".split()  # noqa: SIM905


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)


def missing(flags):
    return missing_packages(parse([*LEAST, *flags.split()]))


@pytest.mark.parametrize("reporter", REPORTERS)
def test_every_reporter_of_transformers(nothing_installed, monkeypatch, reporter):
    monkeypatch.delenv("WANDB_DISABLED", raising=False)
    (sentence,) = missing(f"--report_to {reporter}")
    assert sentence.startswith(f"report_to: {reporter} needs the package ") and "pip install" in sentence


def test_a_torch_without_muon_is_named(monkeypatch):
    assert not missing("--use_muon true")
    monkeypatch.delattr("torch.optim.Muon")
    (sentence,) = missing("--use_muon true")
    assert sentence.startswith("use_muon needs torch 2.9 or newer, and here is ")


def test_the_reporters_are_those_of_transformers():
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert set(REPORTERS) == set(INTEGRATION_TO_CALLBACK)


def optimizers():
    return [item.value for item in __import__("transformers.training_args").training_args.OptimizerNames]


@pytest.mark.parametrize("optimizer", optimizers())
def test_every_optimizer_of_transformers(nothing_installed, optimizer):
    builtin = {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}
    sentences = missing(f"--optim {optimizer}")
    assert bool(sentences) == (optimizer not in builtin), sentences
    assert all(sentence.startswith(f"optim: {optimizer} needs the package ") for sentence in sentences)


@pytest.mark.parametrize(
    ("flags", "package"),
    [
        ("--use_liger_kernel", "liger-kernel"),
        ("--enable_liger_kernel", "liger-kernel"),
        ("--deepspeed examples/deepspeed/ds_z3_config.json", "deepspeed"),
        ("--skip_memory_metrics false", "psutil"),
        ("--finetuning_type lora", "peft"),
        ("--plot_loss", "matplotlib"),
        ("--tokenized_path t", "datasets"),
    ],
)
def test_other_settings_that_need_a_package(nothing_installed, flags, package):
    (sentence,) = missing(flags)
    assert f"the package {package}, which is not installed here: pip install {package}" in sentence


def test_all_are_named_at_once_and_nothing_is_needed_by_default(nothing_installed):
    assert missing("") == []
    assert len(missing("--report_to wandb,mlflow --optim galore_adamw --use_liger_kernel")) == 4


def test_a_reporter_nobody_knows_and_one_switched_off_by_the_environment(monkeypatch):
    assert "did you mean 'tensorboard'" in missing("--report_to tensorbord")[0]
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: importlib.util)
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert "WANDB_DISABLED" in missing("--report_to wandb")[0]
    assert missing("--report_to none") == missing("--report_to all") == []


def test_training_stops_there_before_it_looks_at_the_model(nothing_installed, tmp_path):
    with pytest.raises(ConfigError, match="pip install wandb"):
        sft.run(parse([*LEAST, "--report_to", "wandb", "--output_dir", str(tmp_path / "out")]))
    assert not (tmp_path / "out").exists()


def test_what_torch_compile_lacks(monkeypatch):
    assert "did you mean 'inductor'" in missing("--torch_compile_backend inducter")[0]
    assert missing("--torch_compile_backend eager") == []
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    assert "C++ compiler" in missing("--torch_compile --use_cpu")[0]
