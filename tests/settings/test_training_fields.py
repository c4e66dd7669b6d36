"""Every field of the installed TrainingArguments: read by us, obeyed by the Trainer, or refused in a sentence."""

import dataclasses
from collections import Counter

import pytest
import yaml
from transformers import TrainingArguments

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import SECTIONS, parse
from gpt4scene.settings.foreign import _read, foreign

FIELDS = {one.name: one for one in dataclasses.fields(TrainingArguments) if one.init}
OWN = {one.name for section in SECTIONS for one in dataclasses.fields(section)}
LEAST = "--model_name_or_path m --dataset d --output_dir o --finetuning_type lora".split()  # noqa: SIM905

ASKING = {
    "label_smoothing_factor": "0.1",
    "label_names": "labels",
    "dataloader_drop_last": "true",
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "size",
    "accelerator_config": '{"split_batches": true}',
    "parallelism_config": "x",
    "dataloader_in_order": "false",
    "dataloader_multiprocessing_context": "spawn",
    "average_tokens_across_devices": "false",
    "auto_find_batch_size": "true",
    "bf16_full_eval": "true",
    "fp16_full_eval": "true",
    "include_for_metrics": "inputs",
    "batch_eval_metrics": "true",
    "eval_do_concat_batches": "false",
    "eval_use_gather_object": "true",
    "enable_jit_checkpoint": "true",
    "restore_callback_states_from_checkpoint": "true",
    "push_to_hub": "true",
    "hub_token": "t",
    "hub_private_repo": "true",
    "hub_model_id": "me/model",
    "hub_strategy": "end",
    "hub_always_push": "true",
    "hub_revision": "r",
    "do_predict": "true",
}
"""Refused field -> a value that asks for what is not done."""


def test_every_field_has_one_place_in_the_table():
    known = foreign()
    places = Counter([*known.used, *known.passed, *(name for name in known.keys if name in FIELDS)])
    assert set(FIELDS) - set(places) == set(), "decide: used, passed, or a group in settings/transformers.yaml"
    assert [name for name, count in places.items() if count > 1] == []
    newer = {
        name for name in known.used | known.passed if name.startswith("activation_checkpointing")
    }  # 5.17 lacks them
    assert (known.used | known.passed) - set(FIELDS) - newer == set()


def test_no_key_stands_twice_and_none_is_ours():
    ours, theirs = _read("transformers.yaml"), _read("llamafactory.yaml")
    groups = [*ours["groups"], *ours["older"], *theirs["groups"]]
    names = Counter(name for group in groups for name in group["keys"])
    assert [name for name, count in names.items() if count > 1] == []
    assert not set(names) & OWN
    assert not set(names) & set(foreign().renamed)


def test_the_list_of_values_is_complete():
    assert set(ASKING) == {name for name, key in foreign().keys.items() if key.refused and name in FIELDS}


@pytest.mark.parametrize("name", ASKING)
def test_a_refused_field_is_refused(name):
    with pytest.raises(ConfigError, match=f"'--{name}' is not supported: "):
        parse([*LEAST, f"--{name}", ASKING[name]])


@pytest.mark.parametrize("name", [name for name in foreign().keys if name in FIELDS])
def test_a_field_at_its_default_asks_for_nothing(name):
    one = FIELDS[name]
    default = one.default_factory() if one.default is dataclasses.MISSING else one.default
    assert not foreign().keys[name].refused or not foreign().keys[name].asks(default)


@pytest.mark.parametrize("name", [name for name in foreign().keys if name in FIELDS])
def test_neither_kind_reaches_the_trainer(name, tmp_path):
    """What is refused or has no effect is never set behind the user's back by a value that is let through."""
    path = tmp_path / "run.yaml"
    one = FIELDS[name]
    default = one.default_factory() if one.default is dataclasses.MISSING else one.default
    path.write_text(yaml.safe_dump({name: default}))
    assert name not in parse([str(path), *LEAST]).training
