"""Marks of media are found, refused or taken as letters, the same in rows and in questions."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.data.conversations import FORMATS, Columns, Tags
from gpt4scene.data.encoding import Encoder
from gpt4scene.data.marks import Marks
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import DataError
from gpt4scene.types import Conversation, Origin, Question, Turn

ORIGIN = Origin("demo", "rows.json", 4)
TOKENS = TEMPLATES["qwen2_vl"].control_tokens
FOREIGN = ("<video>", "<audio>", *TOKENS)


def test_a_backslash_makes_letters_of_a_mark_and_two_stand_for_one():
    marks = Marks(TOKENS)
    text = r"a\b <image> \<image> \\<image> \\\<video> \<|im_end|>"
    assert marks.found(text) == ["<image>", "<image>"]
    assert ["".join(parts) for parts in marks.pieces(text)] == [r"a\b ", r" <image> " + "\\", r" \<video> <|im_end|>"]


@given(st.text(alphabet="\\<>image vdo|", max_size=40) | st.from_regex(r"(\\|<image>|<video>|a){0,8}", fullmatch=True))
def test_escaped_texts_come_back_as_letters(text):
    marks = Marks()
    assert marks.found(marks.escaped(text)) == []
    assert marks.plain(marks.escaped(text)) == text


@pytest.mark.parametrize("role", ["human", "gpt", "system"])
@pytest.mark.parametrize("mark", ["<video>", "<audio>"])
def test_marks_of_other_media_in_a_row_are_refused_and_letters_are_not(role, mark):
    def read(text):
        turns = {"human": "What?", "gpt": "That."} | {role: text}
        order = [name for name in ("system", "human", "gpt") if name in turns]
        row = {"conversations": [{"from": name, "value": turns[name]} for name in order]}
        return FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)

    with pytest.raises(DataError, match=rf"row 4 .*{mark}.*not supported"):
        read(f"a {mark}")
    assert f"a \\{mark}" in [turn.text for turn in read(f"a \\{mark}").turns]


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
@pytest.mark.parametrize("mark", FOREIGN)
def test_what_only_the_template_may_write_is_refused_in_every_message(encoder, role, mark):
    turns = {"user": "What?", "assistant": "That."} | {role: f"a {mark}"}
    order = [name for name in ("system", "user", "assistant") if name in turns]
    row = Conversation(tuple(Turn(name, turns[name]) for name in order), (), ORIGIN)
    with pytest.raises(DataError, match="row 4"):
        encoder.encode(row)


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
@pytest.mark.parametrize("mark", ["<image>", *FOREIGN])
def test_letters_are_encoded_as_letters(encoder, role, mark):
    def ids(text):
        turns = {"user": "What?", "assistant": "That."} | {role: text}
        order = [name for name in ("system", "user", "assistant") if name in turns]
        return encoder.encode(Conversation(tuple(Turn(name, turns[name]) for name in order), (), ORIGIN)).ids_L

    found = ids(f"a \\{mark} b")
    assert f"a {mark} b" in encoder.tokenizer.decode(found)
    if mark in TOKENS:
        plain = ids("a b")
        token = encoder.tokenizer.convert_tokens_to_ids(mark)
        assert (found == token).sum() == (plain == token).sum()


def test_a_question_reads_marks_as_a_row_does(encoder, images):
    asked = Question("scanqa", 0, "scene", r"What does \<image> mean?", tuple(map(str, images)))
    text = encoder.tokenizer.decode(encoder.encode_question(asked).ids_L)
    assert "What does <image> mean?" in text and text.count("<|vision_start|>") == len(images)
    with pytest.raises(DataError, match="<video>"):
        encoder.encode_question(Question("scanqa", 0, "scene", "What is in <video>?", tuple(map(str, images))))


@pytest.mark.parametrize("token", ["<|object_ref_start|>", "<|box_end|>", "<tool_call>", "<point>"])
def test_other_tokens_of_the_tokenizer_are_used_and_a_backslash_makes_letters_of_them(tokenizer, rule, token):
    known = copy.deepcopy(tokenizer)
    known.add_tokens([token])
    encoder, id_ = Encoder(known, TEMPLATES["qwen2_vl"], rule), known.convert_tokens_to_ids(token)

    def ids(text):
        return encoder.encode(Conversation((Turn("user", f"Q {text}"), Turn("assistant", text)), (), ORIGIN)).ids_L

    used, letters = ids(f"a{token}b"), ids(rf"a\{token}b")
    assert (used == id_).sum() == 2 and (letters == id_).sum() == 0
    assert f"Q a{token}b" in known.decode(letters) and "\\" not in known.decode(letters)
    assert (encoder.encode_question(Question("scanqa", 0, "s", f"a{token}", ())).ids_L == id_).sum() == 1
    assert (encoder.encode_question(Question("scanqa", 0, "s", rf"a\{token}", ())).ids_L == id_).sum() == 0
