"""The doctor: names what is wrong with the machine and with a run's files, and is quiet about what is right."""

import json
import shutil
from types import SimpleNamespace

import pytest
from commands import doctor as doctor_command
from PIL import Image
from safetensors.torch import load_file, save_file

from gpt4scene.demo import tiny_model
from gpt4scene.doctor import findings, machine, training
from gpt4scene.doctor.findings import SAMPLE, Finding
from gpt4scene.settings.config import parse

TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model.build(folder)
    return folder


@pytest.fixture
def run(checkpoint, tmp_path):
    """Settings of a run whose files are all there: one row with one image."""
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (56, 56)).save(data / "room.jpg")
    row = {
        "messages": [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "A chair."}],
        "images": ["room.jpg"],
    }
    (data / "rows.json").write_text(json.dumps([row]))
    entry = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
    (data / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    return ["--model_name_or_path", str(checkpoint), "--dataset", "rows", "--dataset_dir", str(data)] + [
        "--output_dir",
        str(tmp_path / "out"),
    ]


@pytest.fixture
def place(checkpoint, tmp_path):
    """A run that has nothing wrong, of 40 rows, its files free to be spoiled."""
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(checkpoint, model)
    data.mkdir()
    Image.effect_noise((56, 56), 60).convert("RGB").save(data / "room.jpg")
    messages = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "A chair."}]
    rows = [{"messages": [dict(one) for one in messages], "images": ["room.jpg"]} for _ in range(40)]
    (data / "rows.json").write_text(json.dumps(rows))
    entry = {"file_name": "rows.json", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": TAGS}
    (data / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    flags = ["--model_name_or_path", str(model), "--dataset", "rows", "--dataset_dir", str(data)]
    flags += ["--finetuning_type", "full", "--output_dir", str(tmp_path / "out")]
    return SimpleNamespace(data=data, model=model, rows=rows, flags=flags, out=tmp_path / "out")


def wrong(argv):
    return "\n".join(finding.text for finding in training.training_findings(parse(argv)) if finding.level == "wrong")


def test_a_complete_run_has_nothing_wrong(run, capsys):
    """Usual mistakes are said as the run would say them, and are no reason for another exit status."""
    assert doctor_command(run) == 0
    said = capsys.readouterr().out
    assert "nothing is wrong" in said and "note  advice (1 process): 1 training rows are few" in said


def test_missing_image_and_missing_deepspeed_are_both_named(run, tmp_path, capsys):
    (tmp_path / "data" / "room.jpg").unlink()
    argv = [*run, "--deepspeed", str(tmp_path / "none.json")]
    text = wrong(argv)
    assert "room.jpg" in text and "there is no file" in text and "none.json" in text
    assert doctor_command(argv) == 1
    assert "things wrong" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"no image", "no image")])
def test_broken_images(run, tmp_path, content, words):
    (tmp_path / "data" / "room.jpg").write_bytes(content)
    assert words in wrong(run)


def test_unknown_dataset(run):
    assert "rowz" in wrong([*run, "--dataset", "rowz"])


def test_missing_model_and_hub_name(run):
    assert "download.py" in wrong([*run, "--model_name_or_path", "./ckpts/nothing"])
    found = list(training.training_findings(parse([*run, "--model_name_or_path", "Qwen/Qwen2-VL-7B-Instruct"])))
    assert any(one.level == "note" and "downloaded" in one.text for one in found)


def truncated(place):
    weights = place.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without_processor(place):
    (place.model / "preprocessor_config.json").unlink()


def empty_tokenizer(place):
    (place.model / "tokenizer_config.json").write_bytes(b"")


def of_another_family(place):
    config = json.loads((place.model / "config.json").read_text())
    (place.model / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))


def shards_are_missing(place):
    (place.model / "model.safetensors").rename(place.model / "model-00002-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (place.model / "model.safetensors.index.json").write_text(json.dumps(index))


def image_missing_in_row_5(place):
    place.rows[5]["images"] = ["nowhere.jpg"]


def image_cut_off(place):
    path = place.data / "room.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def with_video(place):
    place.rows[3]["videos"] = ["walk.mp4"]


def video_mark(place):
    place.rows[2]["messages"][0]["content"] += "<video>"


def nan_weights(place):
    weights = load_file(place.model / "model.safetensors")
    next(iter(weights.values())).fill_(float("nan"))
    save_file(weights, place.model / "model.safetensors", {"format": "pt"})


def one_colour(place):
    path = place.model / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5]}))


def text_config(place, **values):
    path = place.model / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= values
    path.write_text(json.dumps(config))


def attention_dropout(place):
    text_config(place, attention_dropout=0.1)


def gelu(place):
    text_config(place, hidden_act="gelu")


def a_run_is_there(place):
    place.out.mkdir()
    (place.out / "trainer_state.json").write_text("{}")


def broken_deepspeed(place):
    (place.data / "ds.json").write_text("{")


def nothing(place):
    """The settings alone are wrong."""


BROKEN = {
    "truncated weights": (truncated, "", "model.safetensors: cut off"),
    "no image processor": (without_processor, "", "preprocessor_config.json"),
    "empty tokenizer settings": (empty_tokenizer, "", "tokenizer_config.json"),
    "another family": (of_another_family, "", "llama"),
    "a missing shard": (shards_are_missing, "", "model-00001-of-00002.safetensors"),
    "no tracker": (nothing, "--report_to neptune", "neptune"),
    "no optimizer package": (nothing, "--optim grokadamw", "grokadamw"),
    "no Liger": (nothing, "--use_liger_kernel true", "liger-kernel"),
    "a LoRA target of nothing": (nothing, "--finetuning_type lora --lora_target q_prox", "q_prox"),
    "more layers than there are": (nothing, "--finetuning_type freeze --freeze_trainable_layers 99", "99"),
    "no adapter": (nothing, "--finetuning_type lora --adapter_name_or_path {data}", "adapter"),
    "nothing to resume from": (nothing, "--resume_from_checkpoint true", "no complete checkpoint"),
    "a missing checkpoint": (nothing, "--resume_from_checkpoint {data}/checkpoint-9", "checkpoint-9"),
    "a run in the output": (a_run_is_there, "", "already holds a run"),
    "a cutoff below the prefix": (nothing, "--cutoff_len 3", "cutoff_len"),
    "an image missing in row 5": (image_missing_in_row_5, "", "row 5"),
    "an image cut off": (image_cut_off, "", "can't be decoded"),
    "a template of another family": (nothing, "--template qwen3_vl", "qwen3_vl"),
    "rows with videos": (with_video, "", "row 3"),
    "rows with marks of videos": (video_mark, "", "<video>"),
    "an unknown data set": (nothing, "--dataset rowz", "rowz"),
    "no DeepSpeed file": (nothing, "--deepspeed {data}/none.json", "none.json"),
    "a broken DeepSpeed file": (broken_deepspeed, "--deepspeed {data}/ds.json", "ds.json"),
    "weights of NaN": (nan_weights, "", "holds NaN"),
    "a processor of one colour": (one_colour, "", "image_mean must be three numbers"),
    "attention dropout": (attention_dropout, "", "write flash_attn: disabled"),
    "kernels that do not fit": (gelu, "--use_liger_kernel true", "gated by gelu"),
    "an output below a file": (nothing, "--output_dir {data}/room.jpg/out", "output_dir must be a folder"),
    "a schedule that does not fit": (nothing, '--lr_scheduler_kwargs {{"cycles":1}}', "cycles"),
    "a whole model as an adapter": (
        nothing,
        "--finetuning_type lora --adapter_name_or_path {model}",
        "whole checkpoint",
    ),
    "tokens of other settings": (nothing, "--tokenized_path {data}", "no folder of tokenized rows"),
}
"""What is wrong -> how it comes about, further flags, and words of the finding."""


@pytest.mark.parametrize("case", BROKEN)
def test_what_would_stop_the_run_is_found(case, place):
    spoil, flags, words = BROKEN[case]
    spoil(place)
    (place.data / "rows.json").write_text(json.dumps(place.rows))
    before = sorted(path for path in place.data.parent.rglob("*"))
    found = wrong([*place.flags, *flags.format(data=place.data, model=place.model).split()])
    assert words in found
    assert sorted(path for path in place.data.parent.rglob("*")) == before  # nothing is written


def test_all_that_is_wrong_is_named_at_once(place):
    truncated(place)
    a_run_is_there(place)
    found = wrong([*place.flags, "--report_to", "neptune", "--deepspeed", str(place.data / "none.json")])
    for words in ("model.safetensors", "already holds a run", "neptune", "none.json"):
        assert words in found


def test_attention_dropout_is_exact_under_plain_attention(place):
    attention_dropout(place)
    assert wrong([*place.flags, "--flash_attn", "disabled"]) == ""


@pytest.mark.parametrize(("value", "name"), [("auto", "in two parts"), ("disabled", "plain products")])
def test_the_attention_of_the_run_is_named(run, value, name):
    found = [one.text for one in training.training_findings(parse([*run, "--flash_attn", value]))]
    assert any(text.startswith("attention: ") and name in text for text in found)


def test_full_decodes_every_row(place, capsys):
    assert doctor_command([*place.flags, "--full"]) == 0
    assert f"{len(place.rows)} rows decoded" in capsys.readouterr().out
    assert doctor_command(place.flags) == 0
    assert f"{SAMPLE} rows decoded" in capsys.readouterr().out


def test_machine_and_counting(capsys):
    assert not [one for one in findings.report(machine.machine()) if one.level == "wrong"]
    said = capsys.readouterr().out
    assert "torch" in said and "packs are attended to by" in said
    given = [Finding("wrong", "a"), Finding("note", "b"), Finding("wrong", "c")]
    assert findings.report(given) == given


def test_wrong_settings_are_a_wrong_call(capsys):
    assert doctor_command(["nowhere.yaml"]) == 2
