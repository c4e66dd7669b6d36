import pytest

from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo.tiny_model import build_tokenizer
from gpt4scene.families.registry import FAMILIES
from gpt4scene.types import Turn

QUESTION, ANSWER = Turn("user", "<image>\n<image>Where is it?"), Turn("assistant", "<OBJ001>.")
TALK = (QUESTION, ANSWER, Turn("user", "And now?"), Turn("assistant", "There."))


def as_messages(turns):
    """The same turns in the form that Hugging Face chat templates take."""
    messages = []
    for turn in turns:
        first, *rest = turn.text.split("<image>")
        parts = [{"type": "text", "text": first}] if first else []
        for piece in rest:
            parts += [{"type": "image"}, {"type": "text", "text": piece}]
        messages.append({"role": turn.role, "content": parts if turn.role == "user" else turn.text})
    return messages


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl"])
@pytest.mark.parametrize("turns", [TALK, (Turn("system", "Be brief."), *TALK), TALK[:1], (Turn("user", "Hi"),)])
def test_text_equals_the_tokenizers_chat_template(name, turns):
    generate = turns[-1].role == "user"
    segments = TEMPLATES[FAMILIES[name].template].render(turns, generate=generate)
    theirs = build_tokenizer(name).apply_chat_template(
        as_messages(turns), tokenize=False, add_generation_prompt=generate
    )
    assert "".join(segment.text for segment in segments) == theirs


def learned(segments):
    return [segment.text for segment in segments if segment.learned]


def test_answers_and_their_end_marks_are_learned():
    render = TEMPLATES["qwen2_vl"].render
    assert learned(render(TALK)) == ["<OBJ001>.<|im_end|>", "There.<|im_end|>"]
    assert learned(render(TALK, mask_history=True)) == ["There.<|im_end|>"]


def test_train_on_prompt_never_learns_images():
    segments = TEMPLATES["qwen2_vl"].render(TALK, train_on_prompt=True)
    assert "Where is it?<|im_end|>" in learned(segments)
    assert not any("vision" in text or "image_pad" in text for text in learned(segments))
    assert sum(segment.image for segment in segments) == 2


def test_an_unknown_template_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'qwen2_vl'"):
        TEMPLATES["qwen2vl"]
