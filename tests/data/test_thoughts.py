"""Templates that think: the texts of released tokenizers, and what LLaMA-Factory learns of thoughts."""

import itertools

import pytest

from gpt4scene.data.templates import EMPTY_THOUGHT, TEMPLATES
from gpt4scene.demo.tiny_model import build_tokenizer
from gpt4scene.families.tiny import chatml
from gpt4scene.types import Turn

ASK, AGAIN = Turn("user", "Where is it?"), Turn("user", "And now?")
THOUGHT, PLAIN = Turn("assistant", "<think>\nBy the door.\n</think>\n\nThere."), Turn("assistant", "Here.")


def text(segments):
    return "".join(segment.text for segment in segments)


def learned(segments):
    return [segment.text for segment in segments if segment.learned]


def theirs(turns, generate=False, **options):
    """What the chat template of a released tokenizer prints: Qwen3-VL-Thinking's, or Qwen3.5's with its switch."""
    tokenizer = build_tokenizer("qwen3_vl")
    tokenizer.chat_template = chatml("", thinks=True, enable_thinking=bool(options))
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate, **options)


@pytest.mark.parametrize("name", ["qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("first, last", itertools.product([THOUGHT, PLAIN], repeat=2))
def test_text_is_that_of_the_released_tokenizers(name, first, last):
    template = TEMPLATES[name]
    turns = (ASK, first, AGAIN, last)
    assert text(template.render(turns, mask_history=True)) == theirs(turns)
    assert text(template.render(turns[:3], generate=True)) == theirs(turns[:3], generate=True)
    for enabled in (True, False):
        asked = text(template.told(enabled).render(turns[:3], generate=True))
        assert asked == theirs(turns[:3], generate=True, enable_thinking=enabled)


def test_the_texts_of_released_tokenizers_are_what_is_known_of_them():
    """What the tests above compare with, written out."""
    asked = "<|im_start|>user\nWhere is it?<|im_end|>\n<|im_start|>assistant\n"
    assert theirs((ASK, THOUGHT)) == f"{asked}{THOUGHT.text}<|im_end|>\n"
    assert theirs((ASK, PLAIN)) == f"{asked}<think>\n\n</think>\n\nHere.<|im_end|>\n"
    assert theirs((ASK, THOUGHT, AGAIN)) == f"{asked}There.<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n"
    assert theirs((ASK,), generate=True) == f"{asked}<think>\n"
    assert theirs((ASK,), generate=True, enable_thinking=False) == f"{asked}<think>\n\n</think>\n\n"


@pytest.mark.parametrize("written", ["<think>By the door.</think>There.", "<think>\nBy the door.\n</think>\nThere."])
def test_thoughts_are_left_out_however_their_lines_are_broken(written):
    turns = ASK, Turn("assistant", written), AGAIN, PLAIN
    assert text(TEMPLATES["qwen3_vl"].render(turns, mask_history=True)) == theirs(turns)
    segments = TEMPLATES["qwen3_vl"].told(False).render((ASK, Turn("assistant", written)))
    assert learned(segments) == ["There.<|im_end|>"] and text(segments).count(EMPTY_THOUGHT) == 1


def test_a_template_without_thoughts_learns_them_as_they_stand():
    """InternVL3.5 thinks where the system message asks for it."""
    turns = (Turn("system", "Think first, between <think> and </think>."), ASK, THOUGHT)
    segments = TEMPLATES["intern_vl"].render(turns)
    assert learned(segments) == [f"{THOUGHT.text}<|im_end|>"] and "Think first, between <think>" in text(segments)
    assert TEMPLATES["intern_vl"].default_system not in text(segments)


@pytest.mark.parametrize(
    ("enabled", "preserve", "mask_history", "wanted"),
    [
        (True, False, False, [THOUGHT.text, EMPTY_THOUGHT, PLAIN.text]),
        (None, False, False, [THOUGHT.text, PLAIN.text]),
        (False, False, False, ["There.", "Here."]),
        (True, False, True, [EMPTY_THOUGHT, PLAIN.text]),
        (None, True, True, [PLAIN.text]),
    ],
)
def test_what_is_learned_is_what_llamafactory_learns(enabled, preserve, mask_history, wanted):
    """Facts of its template.py and supervised.py, version 0.9.5."""
    segments = (
        TEMPLATES["qwen3_vl"].told(enabled, preserve).render((ASK, THOUGHT, AGAIN, PLAIN), mask_history=mask_history)
    )
    said = [part.removesuffix("<|im_end|>") for part in learned(segments)]
    assert said == wanted
    assert text(segments).count(EMPTY_THOUGHT) == 2 - (enabled is not False)
    kept = preserve or not mask_history
    assert ("By the door." in text(segments)) == (kept and enabled is not False)


def test_earlier_thoughts_are_kept_where_they_are_preserved():
    turns = (ASK, THOUGHT, AGAIN)
    template = TEMPLATES["qwen3_5"]
    assert "By the door." not in text(template.render(turns, generate=True))
    assert "By the door." in text(template.told(True, True).render(turns, generate=True))
    masked = text(template.told(True, True).render((ASK, PLAIN, AGAIN, PLAIN), mask_history=True))
    assert masked.count(EMPTY_THOUGHT) == 2


def test_templates_without_thoughts_leave_texts_alone():
    for name in ("qwen3_vl_nothink", "qwen2_vl"):
        template = TEMPLATES[name]
        assert template.told(False, True) == template and template.opening == ""
        assert learned(template.render((ASK, THOUGHT))) == [f"{THOUGHT.text}<|im_end|>"]


def test_runs_of_before_go_on():
    """What the template says of itself in a checkpoint is, without thoughts, what it was when there were none."""
    assert TEMPLATES["qwen3_vl_nothink"].identity()["name"] == "qwen3_vl"
    assert "thinks" not in TEMPLATES["qwen2_vl"].identity()
    thinking = [TEMPLATES["qwen3_vl"].told(enabled).identity() for enabled in (True, None, False)]
    assert len({str(one) for one in [*thinking, TEMPLATES["qwen3_vl_nothink"].identity()]}) == 4
