"""The plan and the trace: recipes fit where they say so, work and time follow their formulas, the trace agrees."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gpt4scene.families.shape import PUBLISHED
from gpt4scene.settings.config import parse
from gpt4scene.training.costs import DEVICES, step_time, work_of
from gpt4scene.training.fitting import setup_of
from gpt4scene.training.launch_files import deepspeed_content
from gpt4scene.training.memory import PUBLISHED_PACK, PackSize, Setup, least_checkpointing

ROOT = Path(__file__).resolve().parent.parent.parent
SEVEN = PUBLISHED["Qwen2-VL-7B"]


def script(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "scripts" / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plan():
    return script("plan")


@pytest.mark.parametrize(
    ("yaml", "gpus", "device"),
    [
        ("qwen2vl_full_sft", 8, "A100-80"),
        ("qwen2vl_full_sft_packed", 8, "H100"),
        ("qwen2vl_full_sft_packed", 8, "A100-80"),
        ("qwen2vl_full_sft_h200", 1, "H200"),
        ("qwen2vl_lora_sft", 1, "H100"),
    ],
)
def test_recipes_fit_where_they_say(monkeypatch, yaml, gpus, device):
    monkeypatch.chdir(ROOT)
    config = parse([f"examples/train/{yaml}.yaml"])
    setup = setup_of(config, SEVEN, gpus, deepspeed=deepspeed_content(config))
    pack = replace(PUBLISHED_PACK, branches=8)
    assert least_checkpointing(SEVEN, setup, pack, DEVICES[device].memory) is not None


def test_full_training_with_plain_adam_does_not_fit_one_gpu():
    for device in ("H100", "H200"):
        setup = Setup("full", "bf16", SEVEN.language_parameters, 28, fused=True)
        assert least_checkpointing(SEVEN, setup, PUBLISHED_PACK, DEVICES[device].memory) is None


def test_a_table_of_all_recipes_is_printed_and_written(plan, tmp_path, capsys):
    file = tmp_path / "plan.json"
    assert plan.main(["--gpus", "1", "1024", "--json", str(file)]) == 0
    lines = json.loads(file.read_text())["estimates"]
    assert len(lines) == 2 * len(plan.RECIPES) and "does not fit" in capsys.readouterr().out
    by = {(one["recipe"], one["gpus"]): one for one in lines}
    assert by["full-zero3", 1024]["memory_gb"] < by["full-zero3", 1]["memory_gb"]
    assert by["lora-ddp", 1024]["rows_a_second"] > 900 * by["lora-ddp", 1]["rows_a_second"]


def test_a_yaml_is_planned_and_a_wrong_word_is_refused(plan, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert plan.main(["examples/train/qwen2vl_full_sft_packed.yaml", "--gpus", "8"]) == 0
    assert "qwen2vl_full_sft_packed" in capsys.readouterr().out
    for words in (["nonsense"], ["--gpus", "0"]):
        with pytest.raises(SystemExit) as stop:
            plan.main(words)
        assert stop.value.code == 2


USUAL = {
    "model_name_or_path": "ckpts/Qwen2-VL-7B-Instruct",
    "dataset": "rooms",
    "output_dir": "run",
    "finetuning_type": "lora",
    "bf16": True,
    "per_device_train_batch_size": 12,
    "scene_packing": 8,
}


@pytest.fixture
def planned(plan, tmp_path):
    """Return a function: words, and keys of a YAML -> what is planned, on one GPU."""

    def run(*words, **keys):
        file, out = tmp_path / "one.yaml", tmp_path / "plan.json"
        file.write_text(json.dumps(USUAL | keys))
        assert plan.main([str(file), "--gpus", "1", "--json", str(out), *words]) == 0
        return json.loads(out.read_text())["estimates"][0]

    return run


def test_a_yaml_is_taken_as_the_run_would_take_it(planned):
    usual = planned()
    assert usual["questions_a_pack"] == 6, "packs of even size, as in the run"
    assert planned(disable_gradient_checkpointing=False)["recomputed_every"] == 1 > usual["recomputed_every"]
    assert planned(use_liger_kernel=False)["memory_gb"] > usual["memory_gb"]
    assert planned(image_resolution=256)["memory_gb"] < usual["memory_gb"]
    assert planned("--model", "Qwen2-VL-2B")["memory_gb"] < usual["memory_gb"]
    sizes = [planned("--device", name, scene_packing="auto")["questions_a_pack"] for name in ("H100", "4090")]
    assert sizes[0] == 12 > sizes[1]


def test_kept_features_and_what_is_offloaded_count_for_the_host(planned):
    assert planned()["host_gb"] == pytest.approx(16.7, abs=0.1), "weights while they are loaded; features are 16 GB"
    assert planned(feature_cache="20GB")["host_gb"] == 20
    assert planned(feature_cache="90GB")["host_gb"] == pytest.approx(33.5, abs=0.1), "all there are"
    assert planned(feature_cache="90GB", freeze_multi_modal_projector=False)["host_gb"] < 20, "nothing is kept"
    zero = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}}
    found = planned(finetuning_type="full", deepspeed=zero)["host_gb"]
    assert found == pytest.approx(12 * SEVEN.language_parameters / 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"flash_attn": "disabled"}, "nothing is estimated"),
        ({"deepspeed": "nowhere.json"}, "there is no file nowhere.json"),
        ({"model_name_or_path": "another"}, "say --model"),
        ({"scene_pack": 3}, "did you mean"),
        ({"tokenize_only": True, "tokenized_path": "t"}, "nothing to plan"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(planned, capsys, keys, said):
    with pytest.raises(SystemExit) as stop:
        planned(**keys)
    assert stop.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.slow
def test_estimates_are_those_of_measured_bytes(plan, capsys):
    assert plan.check()
    assert capsys.readouterr().out.count("measured") == 4


def test_work_is_that_of_the_textbook():
    """Six operations a weight and token when all is trained, four with LoRA; attention apart."""
    full = Setup("full", "bf16", SEVEN.language_parameters, 28)
    pack = replace(PUBLISHED_PACK, patches=0, labels=0)
    weights = 28 * SEVEN.layer_matmul * pack.tokens
    assert work_of(SEVEN, full, pack, 0).products == pytest.approx(6 * weights)
    lora = Setup("lora", "bf16", SEVEN.lora_parameters(8), 28, rank=8)
    extra = 6 * SEVEN.lora_parameters(8) * pack.tokens
    assert work_of(SEVEN, lora, pack, 0).products == pytest.approx(4 * weights + extra)
    again = work_of(SEVEN, full, pack, 1)
    assert again.useful == work_of(SEVEN, full, pack, 0).useful
    assert again.again == pytest.approx(2 * weights + again.attention / 3.5)
    assert work_of(SEVEN, full, pack, 2).again == pytest.approx(again.again / 2)


def test_a_pack_of_sixteen_costs_little_more_than_one():
    lora = Setup("lora", "bf16", SEVEN.lora_parameters(8), 28, rank=8, fused=True)
    one, many = (
        step_time(SEVEN, lora, replace(PUBLISHED_PACK, branches=branches), 0, DEVICES["H100"]).total
        for branches in (1, 16)
    )
    assert 12 < 16 * one / many < 16


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("every", [0, 1])
def test_traced_memory_and_time_are_those_estimated(method, every):
    """Three layers of the real widths, without numbers: memory within 10 %, time of the layers within 25 %."""
    tool, shape = script("trace"), replace(SEVEN, layers=3)
    trained = shape.language_parameters if method == "full" else shape.lora_parameters(8)
    setup = Setup(method, "bf16", trained, 3, rank=8 * (method == "lora"), fused=True)
    pack = PackSize(prefix=8412, branches=4, branch=110, labels=20, patches=0)
    traced = tool.trace(shape, setup, pack, every, "H100", False)
    assert traced.peak == pytest.approx(tool.expected_peak(shape, setup, pack, every), rel=0.1)
    estimated = step_time(shape, setup, pack, every, DEVICES["H100"])
    assert sum(traced.seconds.values()) == pytest.approx(estimated.compute + estimated.stream, rel=0.25)


def test_answering_reads_weights_once_a_step_and_grows_with_the_questions():
    tool = script("trace")
    one, many = (tool.answering(SEVEN, "H100", count, 110, 16) for count in (1, 64))
    assert one["tower"] == many["tower"] and one["prefix"] == many["prefix"]
    assert many["questions"] == pytest.approx(64 * one["questions"])
    weights = 2 * (SEVEN.layers * SEVEN.layer_matmul + SEVEN.head_parameters)
    assert 1 < one["decoding"] / (16 * weights / (3.35e12 * 0.8)) < 1.1
