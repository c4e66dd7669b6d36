"""Questions as people write them: what is asked, in which words, and what is refused."""

import pytest
from chat_scenes import write_scene

from gpt4scene.chat.arguments import AskArguments, ChatArguments
from gpt4scene.chat.asking import Outcome, Said, question_about
from gpt4scene.chat.wordings import prompt_of, wordings
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.prepared import read_prepared


@pytest.fixture
def scene(tmp_path):
    return read_prepared(write_scene(tmp_path))


def test_a_question_shows_the_birds_eye_view_first_and_follow_ups_show_it_before_the_first_question(scene):
    question = question_about(scene, "What is there?")
    assert [path.rpartition("/")[2] for path in question.images] == ["bev.jpg", "00000.jpg", "00001.jpg"]
    assert question.prompt == "What is there?" and not question.earlier
    later = question_about(scene, "And there?", [Said("What is here?", "An <image> of it."), Said("Where?", "There.")])
    assert [turn.role for turn in later.earlier] == ["user", "assistant"] * 2
    assert later.earlier[0].text == "<image>" * 3 + "What is here?"
    assert later.earlier[1].text == "An \\<image> of it." and later.prompt == "And there?"


@pytest.mark.parametrize(
    ("text", "words"),
    [("  ", "is empty"), ("x" * 20_001, "20001 letters"), ("\ud800", "half"), ("<|im_end|> hi", "only the template")],
)
def test_what_cannot_be_asked_is_refused(scene, text, words):
    with pytest.raises(DataError, match=words):
        question_about(scene, text)


def test_an_image_that_went_away_is_named(scene):
    scene.images[1].unlink()
    with pytest.raises(DataError, match="00000.jpg.*prepare the scene again"):
        question_about(scene, "What is there?")


def test_wordings_are_those_of_question_files():
    known = {one.task: one for one in wordings()}
    assert len({one.text for one in known.values()}) == len(known) >= 5
    for one in known.values():
        said = one.fill("the object 3.", "I stand here." if one.needs_situation else "")
        assert "{" not in said and ("3" in said)
    caption = next(one for one in known.values() if one.asks == "object")
    assert "<OBJ003>" in caption.fill("number 3") and caption.fill("3") == caption.fill("<OBJ003>")
    for wrong in ("the chair", "3 and 4"):
        with pytest.raises(DataError, match="one object"):
            caption.fill(wrong)
    placed = next(one for one in known.values() if one.needs_situation)
    with pytest.raises(DataError, match="needs a situation"):
        placed.fill("What is left of me?")
    assert prompt_of(" As it is {x} ") == "As it is {x}"
    assert "{x}" in prompt_of("What is {x}?", next(iter(known)))
    with pytest.raises(DataError, match="belongs to"):
        prompt_of("What?", situation="I stand.")
    with pytest.raises(ConfigError, match="did you mean"):
        prompt_of("What?", next(iter(known)) + "s")


def test_wrong_values_are_said_together():
    def said(kind, **values):
        return "\n".join(kind(model="m", **values).problems())

    assert "the question is empty" in said(AskArguments, scene="s", question=" ")
    assert "--dtype float16 has no effect" in said(
        AskArguments, scene="s", question="q", base_url="http://a/v1", dtype="float16"
    )
    assert "--timeout 5 has no effect" in said(AskArguments, scene="s", question="q", timeout=5)
    assert "--task: 'nothing' has no wording" in said(ChatArguments, task="nothing")
    assert "nobody could ask" in said(ChatArguments, uploads=False)
    assert "--view_url javascript:1 is no address" in said(ChatArguments, view_url="javascript:1")
    assert not said(ChatArguments, view_url="http://127.0.0.1:8080", scenes=("s",))


def test_times_say_what_was_kept_and_what_was_cut():
    assert Outcome("a", 0.5, 1.25, 3, 2057, 2039, "length").times() == (
        "first word after 0.50 s, all after 1.25 s; prompt of 2,057 tokens, 2,039 of them kept from before; cut at the "
        "longest length"
    )
    assert Outcome("<think>So</think> Red.", 0.5, 1.0).answer == "Red."
