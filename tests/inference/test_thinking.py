"""A model that thinks: which template it is asked with, and what its answers look like."""

import json

import pytest
from scene_rows import write_image

from gpt4scene.benchmarks.thoughts import rows_without
from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.errors import ConfigError
from gpt4scene.families.family import choose_template
from gpt4scene.families.registry import FAMILIES
from gpt4scene.families.tiny import chatml
from gpt4scene.files.answers import read_row, record_of
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.local import load_engine
from gpt4scene.model.folder import ModelFolder
from gpt4scene.model.trained_with import trained_with
from gpt4scene.types import Question

THINKS = chatml("", thinks=True)


@pytest.mark.parametrize(
    ("asked", "chat_template", "enabled", "name", "opening"),
    [
        (None, chatml(""), None, "qwen3_vl_nothink", ""),
        (None, THINKS, None, "qwen3_vl", "<think>\n"),
        (None, THINKS, False, "qwen3_vl", "<think>\n\n</think>\n\n"),
        ("qwen3_vl", None, True, "qwen3_vl", "<think>\n"),
        ("qwen3_vl_nothink", THINKS, False, "qwen3_vl_nothink", ""),
    ],
)
def test_which_template_a_checkpoint_is_asked_with(asked, chat_template, enabled, name, opening):
    template = choose_template(FAMILIES["qwen3_vl"], asked, chat_template, enabled)
    assert (template.name, template.opening) == (name, opening)


@pytest.mark.parametrize(
    ("asked", "trained", "enabled", "name", "opening"),
    [
        (None, ("qwen3_vl_nothink", True), None, "qwen3_vl_nothink", ""),
        (None, ("qwen3_vl", True), None, "qwen3_vl", "<think>\n"),
        (None, ("qwen3_vl", None), None, "qwen3_vl", "<think>\n"),
        (None, ("qwen3_vl", False), None, "qwen3_vl", "<think>\n\n</think>\n\n"),
        (None, ("qwen3_vl", False), True, "qwen3_vl", "<think>\n"),
        ("qwen3_vl", ("qwen3_vl_nothink", False), None, "qwen3_vl", "<think>\n"),
        (None, ("intern_vl", True), None, "qwen3_vl", "<think>\n"),
    ],
)
def test_a_model_is_asked_as_it_was_trained(tmp_path, asked, trained, enabled, name, opening):
    template, thinking = trained
    config = {"data": {"template": template}, "family": {"enable_thinking": thinking}, "said": ["template"]}
    (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    known = trained_with(ModelFolder(tmp_path / "base", tmp_path / "checkpoint-20"))
    assert known == trained and trained_with(ModelFolder(tmp_path / "base")) is None
    found = choose_template(FAMILIES["qwen3_vl"], asked, THINKS, enabled, known)
    assert (found.name, found.opening) == (name, opening)


def test_a_template_without_thoughts_is_not_made_to_think():
    with pytest.raises(ConfigError, match="template qwen3_vl_nothink has no thoughts; write template: qwen3_vl"):
        choose_template(FAMILIES["qwen3_vl"], None, chatml(""), True)
    with pytest.raises(ConfigError, match="template qwen2_vl has no thoughts, or leave"):
        choose_template(FAMILIES["qwen2_vl"], None, THINKS, True)


def scored(answer):
    """The text that a benchmark of rooms gets of an answer in a journal."""
    (row,), _ = rows_without([read_row(record_of(answer), "row")])
    return row.pred


@pytest.mark.slow
def test_the_journal_keeps_the_thought_and_the_score_sees_the_answer(tmp_path):
    shape = TinyShape(width=64, layers=1, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    folder = build(tmp_path / "model", "qwen3_vl", shape)
    (folder / "chat_template.jinja").write_text(THINKS)
    question = Question("scanqa", 0, "room", "Where?", (write_image(tmp_path / "0.png", (80, 60)),))
    (answer,) = load_engine(folder, image_resolution=64).answer([question], GenerationSettings(max_new_tokens=4))
    assert answer.text.startswith("<think>\n") and answer.tokens == 4
    assert record_of(answer)["pred"] == answer.text and scored(answer) == ""
    (answer,) = load_engine(folder, image_resolution=64, enable_thinking=False).answer(
        [question], GenerationSettings(max_new_tokens=4)
    )
    assert not answer.text.startswith("<think>") and scored(answer) == answer.text
