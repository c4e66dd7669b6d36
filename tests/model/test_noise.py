"""NEFTune on packs: the noise of each branch is as large as in its own row, and none of it stays in evaluation."""

import pytest
import torch
from transformers.integrations.neftune import activate_neftune

from gpt4scene.data.layout import pack_layout
from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError
from gpt4scene.model.loading import load_model
from gpt4scene.model.noise import add_noise, check_noise, row_lengths


def test_the_row_of_each_token():
    assert row_lengths(pack_layout(4, [2, 6])).tolist() == [8.0] * 4 + [6.0] * 2 + [10.0] * 6
    assert row_lengths(pack_layout(4, [2, 6, 3], apart=1)).tolist() == [8.0] * 4 + [6.0] * 2 + [10.0] * 6 + [3.0] * 3
    assert row_lengths(pack_layout(0, [5], apart=1)).tolist() == [5.0] * 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = load_model(tiny_model.build(tmp_path_factory.mktemp("noise") / "model"))
    add_noise(made, 5.0)
    return made


def noise(model, layout, length):
    """Return what is added to the embeddings of a row, and the embeddings themselves."""
    seen = []
    handle = model.get_input_embeddings().register_forward_hook(lambda _, __, out: seen.append(out))
    ids = torch.arange(length)[None] + 10
    try:
        with torch.no_grad():
            model(input_ids=ids, layout=layout) if layout is not None else model(input_ids=ids)
    finally:
        handle.remove()
    plain = model.get_input_embeddings().weight[ids[0]]
    return seen[0][0] - plain


def test_a_row_alone_has_the_noise_of_transformers(model, tmp_path):
    model.train()
    torch.manual_seed(3)
    ours = noise(model, None, 40)
    torch.manual_seed(3)
    theirs = load_model(tiny_model.build(tmp_path / "model"))
    activate_neftune(theirs, 5.0)
    theirs.train()
    torch.manual_seed(3)
    assert torch.allclose(ours, noise(theirs, None, 40), atol=1e-6)
    assert ours.abs().max() > 0


def test_a_model_that_takes_no_features_is_refused(model, monkeypatch):
    check_noise(model)
    monkeypatch.setattr(type(model.model), "forward", lambda self, input_ids=None: None)  # as in transformers 5.17
    with pytest.raises(ConfigError, match="neftune_noise_alpha needs a newer transformers than"):
        check_noise(model)


def test_branches_of_a_pack_have_the_noise_of_their_own_rows(model):
    layout, width = pack_layout(30, [10, 60]), model.get_input_embeddings().weight.shape[1]
    model.train()
    found = noise(model, layout, 100).abs()
    for part, row in ((found[:30], 65), (found[30:40], 40), (found[40:], 90)):
        most = 5.0 / (row * width) ** 0.5
        assert 0.97 * most < part.max() <= most * 1.0001
    model.eval()
    assert noise(model, layout, 100).abs().max() == 0
