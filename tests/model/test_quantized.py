"""Few bits for the matrices of the language layers alone, and as many bytes as the estimate of memory counts."""

import pytest
import torch

from gpt4scene.demo import tiny_model
from gpt4scene.families.registry import FAMILIES, family_of, shape_of
from gpt4scene.model.loading import load_model
from gpt4scene.model.quantized import quantised_on, unquantised
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.fitting import quantised_bytes
from gpt4scene.training.parts_table import size_of

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.slow
CPU = torch.device("cpu")


def is_quantised(module):
    return isinstance(module, torch.nn.Linear) and not module.weight.is_floating_point()


def loaded(base, **keys):
    methods = MethodArguments(**keys)
    return load_model(base, **quantised_on(methods, base, torch.float32, CPU))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", [4, 8])
def test_tower_merger_and_head_stay_whole(tmp_path, family, bits):
    base = tiny_model.build(tmp_path / "model", family)
    model, plain = loaded(base, quantization_bit=bits), load_model(base)
    layers = family_of(model.config).layers + "."
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {name for name, module in linear.items() if is_quantised(module)} == {
        name for name in linear if name.startswith(layers)
    }
    experts = [one for name, one in model.named_parameters() if ".experts." in name]
    assert all(one.is_floating_point() for one in experts) and bool(experts) == ("moe" in family)
    shape = shape_of(model.config)
    said = unquantised(MethodArguments(quantization_bit=bits), shape)
    assert bool(said) == bool(experts) and unquantised(MethodArguments(), shape) is None
    sizes = {name: one.numel() for name, one in plain.named_parameters()}
    assert {name: size_of(one) for name, one in model.named_parameters()} == sizes


@pytest.mark.parametrize("double", [True, False])
def test_a_number_of_4_bits_takes_the_bytes_that_are_counted(tmp_path, double):
    shape = tiny_model.TinyShape(width=512, layers=1, heads=4, key_value_heads=2, vision_layers=1)
    base = tiny_model.build(tmp_path / "model", shape=shape)
    model = loaded(base, quantization_bit=4, double_quantization=double)
    held = numbers = 0
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and is_quantised(module):
            state = module.weight.quant_state
            held += module.weight.nbytes + state.absmax.nbytes + (state.state2.absmax.nbytes if state.nested else 0)
            numbers += size_of(module.weight)
    counted = quantised_bytes(MethodArguments(quantization_bit=4, double_quantization=double))
    assert held / numbers == pytest.approx(counted, rel=1e-3)
