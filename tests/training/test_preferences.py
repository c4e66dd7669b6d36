"""Losses of pairs: those of TRL on the same rows, and the same in packs as one by one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import PackDataset, WithoutPixels
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.pixels import normalise
from gpt4scene.model.reference import Reference
from gpt4scene.model.tower import Tower
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.preferences import PreferenceArguments
from gpt4scene.training.preferences import Preference, pair_losses
from gpt4scene.types import Conversation, Origin, Turn

ROWS = (
    ("What color is the chair?", "Red.", "It may be any color that chairs have."),
    ("How many lamps are in the room?", "There are two lamps on the table.", "No."),
    ("Where?", "Behind the sofa.", "Here."),
)
NAMES = ("chosen", "rejected", "accuracies", "margins")


def relative(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-12))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A tiny checkpoint, one whose weights are a little others, and pairs about two images, and one of text."""
    folder, random = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    model = tiny_model.build(folder / "model")
    tiny_model.build(folder / "other", seed=1)
    paths = []
    for index in range(2):
        Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        paths.append(str(folder / f"{index}.png"))
    rows = [
        Conversation(
            (Turn("user", "<image><image>" + asked), Turn("assistant", chosen)),
            tuple(paths),
            Origin("d", "f", n),
            worse,
        )
        for n, (asked, chosen, worse) in enumerate(ROWS)
    ]
    rows.append(Conversation((Turn("user", "Hi"), Turn("assistant", "Hello.")), (), Origin("d", "f", 3), "Go away."))
    encoder = Encoder(load_tokenizer(model), TEMPLATES["qwen2_vl"], image_rule(model, 112), mask_history=True)
    return SimpleNamespace(model=model, other=folder / "other", data=PackDataset(rows, encoder), encoder=encoder)


def ours(model, scene, arguments, reference, packs):
    """Losses by row, gradients of their sum, and figures, computed pack by pack."""
    model.zero_grad()
    objective, tower = Preference(arguments, reference), Tower(model, scene.encoder.vision)
    losses, figures = [], []
    for indices in packs:
        rows = objective.losses(model, scene.data[indices], tower)
        (rows.losses * rows.counts).sum().backward()
        losses.append(rows.losses.detach())
        figures.append(torch.stack([rows.figures[name] for name in objective.figures]))
    found = dict(zip(objective.figures, torch.cat(figures, 1), strict=True))
    return torch.cat(losses), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}, found


def trl_inputs(scene, indices):
    """The same rows as TRL's collator gives them: all chosen answers, then all rejected ones, padded on the right."""
    samples = [scene.encoder.encode(scene.data.rows[index]) for index in indices]
    ordered = [sample.answers[side] for side in range(2) for sample in samples]
    longest = max(len(sample.ids_L) for sample in ordered)
    batch = scene.data[tuple(indices)]
    pixels = normalise(batch.pixel_values, scene.encoder.vision)

    def padded(values, filling):
        return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in values])

    ids = padded([sample.ids_L.tolist() for sample in ordered], 0)
    return {
        "input_ids": ids,
        "attention_mask": padded([[1] * len(sample.ids_L) for sample in ordered], 0),
        "completion_mask": padded([(sample.labels_L != -100).astype(int).tolist() for sample in ordered], 0),
        "pixel_values": torch.cat([pixels] * len(ordered)),
        "image_grid_thw": torch.tensor([grid for sample in ordered for grid in sample.grids]),
        "mm_token_type_ids": (ids == scene.encoder.special.image_pad).int(),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "ld_alpha"), [("sigmoid", None), ("hinge", None), ("ipo", None), ("sigmoid", 0.4)])
def test_losses_gradients_and_rewards_are_those_of_trl(scene, loss, ld_alpha):
    pytest.importorskip("trl", minversion="1.16")
    from trl import DPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    theirs, compared = (
        AutoModelForImageTextToText.from_pretrained(place, attn_implementation="eager", dtype=torch.float32)
        for place in (scene.other, scene.model)
    )
    for one in (theirs, compared):
        add_fused_lm_head(one, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    metrics = {"train": {name: [] for name in ("entropy", "num_tokens", "mean_token_accuracy")}}
    metrics["train"] |= {f"{what}/{side}": [] for what in ("logits", "logps", "rewards") for side in NAMES}
    trainer = SimpleNamespace(
        model=theirs.train(),
        ref_model=compared,
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=lambda value: value, gather=lambda value: value),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        aux_loss_enabled=False,
        precompute_ref_logps=False,
        use_weighting=False,
        f_divergence_type="reverse_kl",
        loss_types=[loss],
        loss_weights=[1.0],
        beta=0.3,
        label_smoothing=0.0,
        ld_alpha=None,
        _metrics=metrics,
        _total_train_tokens=0,
        _tp_size=1,
    )
    arguments = PreferenceArguments(pref_loss=loss, pref_beta=0.3, ld_alpha=ld_alpha)
    model, base = (load_model(place, dtype=torch.float32) for place in (scene.other, scene.model))
    inputs = trl_inputs(scene, [0, 1, 2])
    if ld_alpha is not None:  # TRL weighs the reference's tokens, too; LLaMA-Factory, whose key it is, does not
        trainer.ld_alpha, trainer.precompute_ref_logps = ld_alpha, True
        tower = Tower(base, scene.encoder.vision)
        with torch.no_grad():
            known = (
                Preference(PreferenceArguments(), Reference(base)).losses(base, scene.data[(0, 1, 2)], tower).figures
            )
        inputs |= {f"ref_{side}_logps": known[f"logps/{side}"] for side in ("chosen", "rejected")}
    wanted = DPOTrainer._compute_loss(trainer, theirs, inputs, False)
    wanted.backward()
    losses, gradients, figures = ours(model, scene, arguments, Reference(base), [(0, 1, 2)])
    assert losses.mean() == pytest.approx(wanted.item(), rel=1e-5)
    same = {name: one.grad for name, one in theirs.named_parameters() if one.grad is not None}
    assert same.keys() == gradients.keys() and len(same) > 30
    for name, gradient in same.items():
        assert relative(gradients[name] / 3, gradient) < 2e-4, name
    if loss != "ipo":  # TRL's rewards are of sums there, LLaMA-Factory's of means, as the loss is
        for name in NAMES:
            assert figures[f"rewards/{name}"].mean() == pytest.approx(metrics["train"][f"rewards/{name}"][0], rel=1e-4)


@pytest.mark.slow
def test_losses_without_a_reference_and_smoothed_ones_are_those_of_trl():
    pytest.importorskip("trl", minversion="1.16")
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    logps = -torch.rand(8, 2, generator=torch.Generator().manual_seed(0)) - 0.01
    logps[4:] *= torch.tensor([[1e-3, 1.0], [1.0, 1e-3], [20.0, 1.0], [1.0, 20.0]])
    chosen, rejected = logps.unbind(1)
    nothing = torch.zeros_like(logps)
    trainer = SimpleNamespace(beta=0.4, accelerator=SimpleNamespace(device="cpu"), alpha=0.0, simpo_gamma=0.7)
    ratio = ORPOTrainer.odds_ratio_loss(trainer, chosen, rejected)[0]
    ours_ = pair_losses(logps, nothing, PreferenceArguments(pref_loss="orpo", pref_beta=0.4))
    assert torch.allclose(ours_, -chosen - ratio, rtol=1e-5)
    trainer.loss_type, trainer.label_smoothing = "simpo", 0.0
    ours_ = pair_losses(logps, nothing, PreferenceArguments(pref_loss="simpo", pref_beta=0.4, simpo_gamma=0.7))
    assert torch.allclose(ours_, CPOTrainer.cpo_loss(trainer, chosen, rejected)[0], rtol=1e-6)
    trainer.loss_type, trainer.label_smoothing = "sigmoid", 0.2  # of log-probabilities, or of their ratios, is one
    ours_ = pair_losses(logps, nothing, PreferenceArguments(pref_beta=0.4, dpo_label_smoothing=0.2))
    assert torch.allclose(ours_, CPOTrainer.cpo_loss(trainer, chosen, rejected)[0], rtol=1e-6)


def test_the_odds_of_a_sure_answer_are_finite_and_its_gradient_is():
    """Also where fp32 rounds its probability to 1 or to 0."""
    logps = torch.tensor([[0.0, -1.0], [-1e-9, -90.0], [-30.0, 0.0]], requires_grad=True)
    losses = pair_losses(logps, torch.zeros_like(logps), PreferenceArguments(pref_loss="orpo"))
    losses.sum().backward()
    assert losses.isfinite().all() and logps.grad is not None and logps.grad.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("ftx", [0.0, 0.5])
def test_pairs_in_packs_are_those_one_by_one(scene, ftx):
    """With adapters in the tower, too, and a pair of text that rides along; filling changes nothing."""
    tuning = TuningArguments(finetuning_type="lora", freeze_vision_tower=False)
    model = prepare_for_training(load_model(scene.model), tuning, bf16=False)
    generator = torch.Generator().manual_seed(0)
    learning = [name for name, one in model.named_parameters() if one.requires_grad]
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    arguments = PreferenceArguments(pref_ftx=ftx, ld_alpha=0.5)
    base = Reference(load_model(scene.model))
    apart = ours(model, scene, arguments, Reference(), [(0,), (1,), (2,), (3,)])
    ridden = SimpleNamespace(data=PackDataset(scene.data.rows, scene.encoder, dummy_image=True), encoder=scene.encoder)
    together = ours(model, ridden, arguments, Reference(), [(0, 1, 2, 3), ()])
    assert relative(together[0][:4], apart[0]) < 1e-5
    assert apart[1].keys() == together[1].keys() and len(apart[1]) > 20
    for name, gradient in apart[1].items():
        assert relative(together[1][name], gradient) < 1e-4, name
    for name, figure in apart[2].items():
        assert relative(together[2][name][:4], figure) < 1e-5, name
    assert relative(ours(model, scene, arguments, base, [(0, 1, 2, 3)])[0], apart[0]) < 1e-5, (
        "the model without adapters"
    )
    assert [name for name, one in model.named_parameters() if one.requires_grad] == learning
    objective = Preference(arguments, base)
    counts = [objective.counts(ridden.data[indices]).tolist() for indices in ((0, 1, 2, 3), (3,), ())]
    assert counts == [[1, 1, 1, 1], [1, 0], [0]]


@pytest.mark.slow
def test_a_reference_of_its_own_keeps_its_features_beside_the_models(scene, monkeypatch):
    """Images that the model need not see again are not decoded for its reference; a frozen tower of both runs once."""
    model, same, other = (load_model(place) for place in (scene.model, scene.model, scene.other))
    made, plain = [], Tower.encode
    monkeypatch.setattr(Tower, "encode", lambda self, *given: made.append(self) or plain(self, *given))
    model.get_submodule("model.visual").requires_grad_(False)

    def found(reference, tower, *batches):
        objective = Preference(PreferenceArguments(), reference)
        with torch.no_grad():
            return [objective.losses(model, batch, tower).losses for batch in batches]

    for network, towers in ((same, 1), (other, 2)):
        made.clear()
        wanted = found(Reference(network), Tower(model, scene.encoder.vision), scene.data[(0, 1)])[0]
        assert len(made) == 2
        made.clear()
        tower = Tower(model, scene.encoder.vision, cache=FeatureCache(2**20))
        unseen = scene.data[WithoutPixels((0, 1))]
        losses = found(Reference(network), tower, scene.data[(0, 1)], unseen, unseen)
        assert len(made) == towers and all(relative(one, wanted) < 1e-6 for one in losses)
