"""Families with plain positions and tiles: their images, losses, gradients, answers and names are those of theirs."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen3Config
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack, with_dummy_image
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.tiles import TileRule
from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.registry import family_of, shape_of
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.model.export import export
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import check_checkpoint, load_model, load_tokenizer
from gpt4scene.model.released import released_name
from gpt4scene.model.rope import refuse_growing_positions
from gpt4scene.model.tower import Tower
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.types import Conversation, Origin, Question, Turn

ROWS = (("What color is the chair?", "Red."), ("How many lamps are in the room?", "Two lamps."), ("Where?", "No."))
SIZES = ((80, 60), (60, 90), (112, 84))
KINDS = ("internvl", "internvl3_5 cropped", "llava_onevision", "llava_onevision alone")
"""Families, and what their images are: cut into tiles, or a single one in its row. InternVL3.5 has a Qwen3 inside."""


def relative(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-12))


def moves(name):
    """Return whether a parameter changes anything: softmax takes no notice of the bias of all keys."""
    return not name.endswith("k_proj.bias")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = []
    for index, (width, height) in enumerate(SIZES):
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        paths.append(str(folder / f"{index}.png"))
    return tuple(paths)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny checkpoints by family, each built once."""
    built = {}

    def folder(family):
        if family not in built:
            place = tmp_path_factory.mktemp(family) / "model"
            built[family] = tiny_model.build(place, family.removesuffix("3_5"))
            if family == "internvl3_5":
                config = AutoConfig.from_pretrained(place)
                text = Qwen3Config(**config.text_config.to_diff_dict() | {"model_type": "qwen3", "head_dim": 16})
                config.text_config = text
                AutoModelForImageTextToText.from_config(config, dtype=torch.float32).save_pretrained(place)
        return built[family]

    return folder


@pytest.fixture(params=KINDS)
def setting(request, folders, images):
    family, _, kind = request.param.partition(" ")
    folder, images = folders(family), images[2:] if kind == "alone" else images
    rule = image_rule(folder, **({"crop_to_patches": True} if kind == "cropped" else {}))
    model = load_model(folder)
    encoder = Encoder(load_tokenizer(folder), TEMPLATES[family_of(model.config).template], rule)
    rows = [
        Conversation(
            (Turn("user", "<image>" * len(images) + question), Turn("assistant", answer)), images, Origin("d", "f", n)
        )
        for n, (question, answer) in enumerate(ROWS)
    ]
    return folder, encoder, [encoder.encode(row) for row in rows], model


def processed(folder, encoder, paths):
    """What the family's own processor makes of the images of one row, as keyword arguments of its model."""
    rule = encoder.vision
    images = [Image.open(path) for path in paths]
    config = json.loads((folder / "preprocessor_config.json").read_text())
    del config["image_processor_type"], config["processor_class"]
    if isinstance(rule, TileRule):
        processor = GotOcr2ImageProcessorPil(**config | {"crop_to_patches": rule.crop_to_patches})
        out = processor(images, return_tensors="pt")
        return {"pixel_values": out["pixel_values"]}, [4 * int(count) for count in out["num_patches"]]
    out = LlavaOnevisionImageProcessorPil(**config)([images], return_tensors="pt")
    counting = LlavaOnevisionProcessor.__new__(LlavaOnevisionProcessor)  # its video processor wants torchvision
    counting.image_processor, counting.num_image_tokens = LlavaOnevisionImageProcessorPil(**config), rule.side**2
    counting.image_token, counting.vision_aspect_ratio = "<image>", "anyres_max_9"
    counting.vision_feature_select_strategy = "full"
    texts = [counting.replace_image_token(out, number) for number in range(len(images))]
    return dict(out), [text.count("<image>") for text in texts]


def losses_and_gradients(model, encoder, packs):
    model.zero_grad()
    losses = []
    for samples in packs:
        rows = row_losses(model, collate(make_pack(samples, encoder), encoder), encoder.vision)
        rows.sum().backward()
        losses.append(rows.detach().float())
    return torch.cat(losses), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_rows_equal_the_processor_and_the_model_of_transformers(setting):
    folder, encoder, samples, model = setting
    inputs, counts = processed(folder, encoder, samples[0].images)
    assert [encoder.vision.tokens(grid) for grid in samples[0].grids] == counts
    theirs = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    for sample in samples:
        ours = row_losses(model, collate(make_pack([sample], encoder), encoder), encoder.vision)
        ids, labels = (torch.from_numpy(one)[None] for one in (sample.ids_L, sample.labels_L))
        assert relative(ours, theirs(input_ids=ids, labels=labels, **inputs).loss) < 1e-5


def test_packs_learn_as_their_rows_do_one_by_one(setting):
    _, encoder, samples, model = setting
    apart, grads_apart = losses_and_gradients(model, encoder, [[sample] for sample in samples])
    together, grads_together = losses_and_gradients(model, encoder, [samples])
    assert relative(together, apart) < 1e-5
    assert grads_apart.keys() == grads_together.keys() and len(grads_apart) > 30
    assert all(relative(grads_together[name], gradient) < 1e-4 for name, gradient in grads_apart.items() if moves(name))
    model.requires_grad_(False)  # so that the tower is run apart
    model.get_submodule("model.language_model").requires_grad_(True)
    frozen, grads = losses_and_gradients(model, encoder, [samples])
    assert relative(frozen, together) < 1e-5 and 0 < len(grads) < len(grads_together)
    assert all(relative(grads[name], grads_together[name]) < 1e-4 for name in grads)


@pytest.mark.slow
def test_a_filling_pack_runs_the_tower_and_changes_nothing(setting):
    _, encoder, _, model = setting
    batch = collate(with_dummy_image(None, encoder), encoder)
    (row_losses(model, batch, encoder.vision) * batch.weights).sum().backward()
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)
    assert model.get_submodule("model.multi_modal_projector").linear_1.weight.grad is not None


@pytest.mark.slow
def test_answers_equal_those_of_generate(setting):
    folder, encoder, samples, model = setting
    images = samples[0].images
    questions = [Question("scanqa", n, "room", text, images) for n, (text, _) in enumerate(ROWS)]
    questions.append(Question("scanqa", 9, "room", "What is a chair?"))
    engine = Engine(Scheduler(model, encoder))
    got = {answer.question.key: answer.token_ids for answer in engine.answer(questions, GenerationSettings(12))}
    theirs = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    inputs, _ = processed(folder, encoder, images)
    for question in questions:
        ids = torch.from_numpy(encoder.encode_question(question).ids_L)[None]
        shown = inputs if question.images else {}
        with torch.inference_mode():
            out = theirs.generate(ids, do_sample=False, max_new_tokens=12, **shown)
        assert list(got[question.key]) == out[0, ids.shape[1] :].tolist(), question


@pytest.mark.slow
def test_the_template_is_the_tokenizers_own(setting, images):
    _, encoder, samples, _ = setting
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A chair."},
    ]
    wanted = encoder.tokenizer.apply_chat_template(chat, tokenize=False)
    # LLaVA-OneVision's puts a space before an answer that is there, none before one that is asked for: here is none.
    wanted = wanted.replace("assistant \n", "assistant\n")
    turns = (Turn("system", "Be brief."), Turn("user", "<image>\nWhat is it?"), Turn("assistant", "A chair."))
    row = encoder.encode(Conversation(turns, images[:1], Origin("d", "f", 0)))
    special, (grid,) = encoder.special, row.grids
    written = encoder.template.image_text
    one = encoder.tokenizer.decode(special.image(encoder.vision.tokens(grid)))
    assert encoder.tokenizer.decode(row.ids_L).replace(one, written) == wanted.replace(
        encoder.template.image_pad, written
    )


@pytest.mark.slow
def test_features_are_kept_and_give_the_same_losses(setting):
    _, encoder, samples, model = setting
    model.requires_grad_(False)
    batch = collate(make_pack(samples, encoder), encoder)
    plain = row_losses(model, batch, encoder.vision)
    tower = Tower(model, encoder.vision, cache=FeatureCache(2**20))
    first = row_losses(model, batch, encoder.vision, tower)
    assert tower.knows_files(batch.images.paths)
    without = collate(make_pack(samples, encoder), encoder, pixels=False)
    assert not len(without.pixel_values)
    assert torch.equal(first, plain) and torch.equal(row_losses(model, without, encoder.vision, tower), plain)
    tower.close()


@pytest.mark.slow
def test_older_names_load_alike_and_the_shape_counts_every_parameter(setting, tmp_path):
    folder, encoder, samples, model = setting
    family, shape = family_of(model.config), shape_of(model.config)
    parts = {"tower": 0, "merger": 0, "language": 0}
    for name, parameter in model.named_parameters():
        parts[family.part_of(name)] += parameter.numel()
    assert parts == {
        "tower": shape.tower.parameters,
        "merger": shape.tower.merger_parameters,
        "language": shape.language_parameters,
    }
    batch = collate(make_pack(samples, encoder), encoder)
    wanted = row_losses(model, batch, encoder.vision)
    weights = {name: one for name, one in model.state_dict().items() if name in dict(model.named_parameters())}
    before = {released_name(family, name): one for name, one in weights.items()}
    assert not before.keys() & weights.keys() and len(before) == len(weights)
    for place, tensors in (("now", weights), ("before", before)):
        other = shutil.copytree(folder, tmp_path / place)
        save_file(tensors, other / "model.safetensors", {"format": "pt"})
        check_checkpoint(other)
        assert torch.equal(row_losses(load_model(other), batch, encoder.vision), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
def test_adapters_reach_the_parts_that_are_not_frozen(setting, bf16):
    _, encoder, samples, model = setting
    asked = TuningArguments(finetuning_type="lora", lora_rank=2, lora_target=["all"], freeze_vision_tower=bf16)
    tuned = prepare_for_training(model, asked, bf16=bf16)
    adapted = {name.partition(".lora_A")[0] for name, _ in tuned.named_parameters() if "lora_A" in name}
    assert any("language_model.layers" in name for name in adapted)
    assert any("vision_tower" in name for name in adapted) != bf16
    assert not any("projector" in name or "lm_head" in name for name in adapted)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        apart, _ = losses_and_gradients(tuned, encoder, [[sample] for sample in samples])
        together, _ = losses_and_gradients(tuned, encoder, [samples])
    assert relative(together, apart) < (5e-3 if bf16 else 1e-5)


@pytest.mark.slow
def test_an_adapter_is_exported_under_the_names_of_the_release(setting, tmp_path):
    folder, encoder, samples, model = setting
    tuned = prepare_for_training(model, TuningArguments(finetuning_type="lora", lora_target=["all"]), bf16=False)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = collate(make_pack(samples, encoder), encoder)
    wanted = row_losses(tuned, batch, encoder.vision)
    tuned.save_pretrained(tmp_path / "adapter")
    for layout in ("released", "current"):
        out = export(folder, [tmp_path / "adapter"], tmp_path / layout, layout=layout)
        named = {name.split(".")[0] for name in load_file(out / "model.safetensors")}
        assert ("vision_tower" in named) == (layout == "released")
        theirs = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
        assert not any(theirs[1][kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert relative(row_losses(load_model(out), batch, encoder.vision), wanted) < 1e-5


def test_positions_that_grow_with_the_longest_row_are_refused_past_the_context(folders):
    config = AutoConfig.from_pretrained(folders("internvl"))
    text = config.text_config
    refuse_growing_positions(config, 10**6)
    text.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}
    refuse_growing_positions(config, text.max_position_embeddings)
    with pytest.raises(ConfigError, match=f"write cutoff_len: {text.max_position_embeddings} or less"):
        refuse_growing_positions(config, text.max_position_embeddings + 1)


@pytest.mark.parametrize(("part", "words"), [("qwen3_moe", "is a qwen3_moe, which is not known"), ("", None)])
def test_a_language_model_that_is_not_known_is_refused(folders, tmp_path, part, words):
    place = shutil.copytree(folders("internvl"), tmp_path / "model")
    described = json.loads((place / "config.json").read_text())
    described["text_config"] |= {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}}
    described["text_config"] |= {"model_type": part} if part else {}
    (place / "config.json").write_text(json.dumps(described))
    if words is None:
        assert check_checkpoint(place).config.model_type == "internvl"
    else:
        with pytest.raises(DataError, match=words):
            check_checkpoint(place)
