"""PiSSA adapters as plain LoRA of twice the rank: the same update, exactly, from what they started from."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.model.adapter_files import read_adapter
from gpt4scene.model.export import merge_adapter
from gpt4scene.model.loading import load_model
from gpt4scene.model.pissa import CONVERTED, START, as_plain_lora, started_from, write_converted, write_start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[(), ("use_rslora",), ("use_dora",)], ids=["LoRA", "rsLoRA", "DoRA"])
def trained(request, tmp_path_factory):
    """The base, a PiSSA adapter with what it started from beside it, and the model that it makes."""
    folder = tmp_path_factory.mktemp("pissa")
    base = tiny_model.build(folder / "model")
    options = {"target_modules": ["q_proj", "down_proj"]} | dict.fromkeys(request.param, True)
    config = LoraConfig(r=4, lora_alpha=6, init_lora_weights="pissa_niter_4", task_type="CAUSAL_LM", **options)
    model = get_peft_model(load_model(base), config)
    start = started_from(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_" in name:
                one.add_(torch.randn_like(one) * 0.05)
    model.save_pretrained(folder / "adapter")
    write_start(folder / "adapter", start)
    return base, folder / "adapter", model.merge_and_unload().state_dict()


def test_merged_into_the_whole_base_it_is_what_was_trained(trained, tmp_path):
    base, adapter, wanted = trained
    got = load_model(merge_adapter(adapter, tmp_path / "merged")).state_dict()
    assert all(torch.allclose(got[name], wanted[name], atol=2e-6) for name in wanted)
    untrained = load_model(base).state_dict()
    assert not all(torch.allclose(got[name], untrained[name], atol=1e-3) for name in wanted)


def test_the_converted_one_is_a_plain_lora_that_any_peft_loads(trained):
    from peft import PeftModel

    base, adapter, wanted = trained
    converted = write_converted(read_adapter(adapter))
    assert converted == adapter / CONVERTED and not (converted / START).exists()
    got = PeftModel.from_pretrained(load_model(base), converted).merge_and_unload().state_dict()
    assert all(torch.allclose(got[name], wanted[name], atol=2e-6) for name in wanted)
    described = read_adapter(converted).description
    assert described["r"] == 8 and described["init_lora_weights"] is True
    assert as_plain_lora(read_adapter(converted)).tensors.keys() == read_adapter(converted).tensors.keys()


def test_a_start_of_another_adapter_is_refused(trained, tmp_path):
    _, adapter, _ = trained
    start = load_file(adapter / START)
    name = next(iter(start))
    save_file({key: one[:, :2].contiguous() if key == name else one for key, one in start.items()}, tmp_path / START)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / file).write_bytes((adapter / file).read_bytes())
    with pytest.raises(DataError, match="is not what the adapter beside it started from"):
        as_plain_lora(read_adapter(tmp_path))
