"""Patches are embedded by a product that is the convolution of transformers, under the same names."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from gpt4scene.demo import tiny_model
from gpt4scene.model.loading import load_model
from gpt4scene.model.patch_product import PatchProduct


@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradients_are_those_of_the_convolution(bias):
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4), bias=bias).double()
    product, patches = PatchProduct(conv), torch.randn(5, 3, 2, 4, 4).double().requires_grad_()
    out, wanted = product(patches), conv(patches)
    assert out.shape == wanted.shape and torch.allclose(out, wanted, atol=1e-13)
    grad = torch.randn_like(wanted)
    found = torch.autograd.grad(out, [patches, *product.parameters()], grad)
    for one, other in zip(found, torch.autograd.grad(wanted, [patches, *conv.parameters()], grad), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    with pytest.raises(AssertionError):
        product(torch.zeros(1, 3, 2, 4, 8).double())


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_loaded_model_has_it_and_keeps_all_names(family, tmp_path):
    folder = tiny_model.build(tmp_path / "model", family)
    model, theirs = load_model(folder), AutoModelForImageTextToText.from_pretrained(folder)
    assert type(model.model.visual.patch_embed.proj) is PatchProduct
    ours, wanted = model.state_dict(), theirs.state_dict()
    assert ours.keys() == wanted.keys() and all(torch.equal(ours[name], wanted[name]) for name in ours)
