"""Marks of media are found, refused or taken as letters, the same in rows and in questions."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.data.conversations import FORMATS, Columns, Tags
from gpt4scene.data.encoding import Encoder
from gpt4scene.data.marks import FOREIGN_MARKS, OTHER_MEDIA, Marks
from gpt4scene.data.templates import ALL_MARKS, OTHER_TOKENS, TEMPLATES
from gpt4scene.demo.tiny_model import build_tokenizer
from gpt4scene.errors import DataError
from gpt4scene.types import Conversation, Origin, Question, Turn

ORIGIN = Origin("demo", "rows.json", 4)
TOKENS = TEMPLATES["qwen2_vl"].control_tokens
FOREIGN = (*FOREIGN_MARKS, *TOKENS)


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


PIECES = st.sampled_from(["\\", "<image>", "<video>", "<|im_end|>", "<|box_start|>", "a", "<", "|>"])


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_a_stranger_wrote_is_heard_letter_by_letter_but_for_usable_tokens(text):
    marks = Marks(TOKENS, OTHER_TOKENS)
    heard = marks.heard(text)
    assert marks.found(heard) == [] and marks.media(heard) == []
    assert marks.plain(heard) == text
    parts = [part for piece in marks.pieces(heard) for part in piece]
    assert not any(token in part for part in parts for token in TOKENS), "a tokenizer would take it for the token"
    assert sum(part.count("<|box_start|>") for part in parts) == text.count("<|box_start|>")


def test_a_million_backslashes_are_read_at_once():
    start = time.process_time()
    text = "\\" * 10**6
    assert Marks(TOKENS).found(text) == [] and Marks(TOKENS).heard(text) == text
    assert time.process_time() - start < 5


@pytest.mark.parametrize("role", ["human", "gpt", "system"])
@pytest.mark.parametrize("mark", FOREIGN_MARKS)
def test_marks_of_other_media_in_a_row_are_refused_and_letters_are_not(role, mark):
    def read(text):
        turns = {"human": "What?", "gpt": "That."} | {role: text}
        order = [name for name in ("system", "human", "gpt") if name in turns]
        row = {"conversations": [{"from": name, "value": turns[name]} for name in order]}
        return FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)

    with pytest.raises(
        DataError, match=rf"row 4 .*{re.escape(mark)}.*{'not supported' if mark in OTHER_MEDIA else 'write'}"
    ):
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


ADDED = (
    "<|box_start|>",
    "<|object_ref_end|>",
    "<tool_call>",
    "<think>",
    "<OBJ>",
    "<OBJ>1",
    "[loc]",
    "<|my<tool_call>|>",
)
"""Tokens of a tokenizer that a template does not write; the last ones are a user's own."""


@pytest.fixture(scope="module")
def grounding(rule):
    """An encoder whose tokenizer has further tokens, some of them no special ones."""
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(list(ADDED[2:]))
    tokenizer.add_special_tokens({"additional_special_tokens": list(ADDED[:2])}, replace_extra_special_tokens=False)
    return Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule)


def ids_of(encoder, role, text, images=()):
    turns = {"user": "What?", "assistant": "That."} | {role: text}
    turns["user"] = "<image>" * len(images) + turns["user"]
    order = [name for name in ("system", "user", "assistant") if name in turns]
    return encoder.encode(Conversation(tuple(Turn(name, turns[name]) for name in order), images, ORIGIN)).ids_L


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
@pytest.mark.parametrize("token", ADDED)
def test_added_tokens_are_tokens_and_with_a_backslash_letters(grounding, role, token):
    number = grounding.tokenizer.convert_tokens_to_ids(token)
    used, letters = ids_of(grounding, role, f"a {token} b"), ids_of(grounding, role, f"a \\{token} b")
    assert (used == number).sum() == 1
    added = set(grounding.tokenizer.get_added_vocab().values())
    assert sorted(set(used) & added) == sorted((set(letters) & added) | {number})
    assert f"a {token} b" in grounding.tokenizer.decode(letters)


@pytest.mark.parametrize("token", ADDED)
def test_added_tokens_in_prompts_are_read_as_in_rows(grounding, token):
    number = grounding.tokenizer.convert_tokens_to_ids(token)

    def asked(text):
        return grounding.encode_question(Question("scanqa", 0, "scene", text, ())).ids_L

    assert (asked(f"Where is {token}?") == number).sum() == 1
    letters = asked(f"Where is \\{token}?")
    assert (letters == number).sum() == 0 and f"Where is {token}?" in grounding.tokenizer.decode(letters)


def test_a_token_and_its_letters_before_the_images_are_not_one_prefix(grounding, images):
    turns = [
        (Turn("system", f"a {mark}<tool_call>"), Turn("user", "<image>?"), Turn("assistant", "x"))
        for mark in ("", "\\")
    ]
    rows = [Conversation(turn, images[:1], ORIGIN) for turn in turns]
    assert grounding.prefix_key(rows[0]) != grounding.prefix_key(rows[1])
    token = grounding.tokenizer.convert_tokens_to_ids("<tool_call>")
    assert [(grounding.encode(row).ids_L == token).sum() for row in rows] == [1, 0]


@pytest.mark.parametrize("kind", ["bos_token", "eos_token", "pad_token"])
def test_what_ends_or_fills_texts_of_a_tokenizer_is_refused(rule, kind):
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({kind: "<my_end>"})
    with pytest.raises(DataError, match=r"row 4.*<my_end>.*write \\<my_end>"):
        ids_of(Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule), "assistant", "That. <my_end>")


def test_space_and_single_letters_are_no_marks():
    marks = Marks(usable=["  ", "\n\n", "§", "<ok>"])
    assert marks.plain("a \\  b \\\n\n \\§ \\<ok>") == "a \\  b \\\n\n \\§ <ok>"


@pytest.mark.parametrize("token", OTHER_TOKENS)
def test_where_the_tokenizer_is_not_known_qwens_tokens_are(token):
    assert ALL_MARKS.found(f"a {token}") == []
    assert ALL_MARKS.letters(f"a \\{token}") == [token] and ALL_MARKS.letters(f"a {token}") == []
    assert ALL_MARKS.plain(ALL_MARKS.escaped(f"a \\{token}")) == f"a \\{token}"


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_half_a_character_is_named_with_its_row(encoder, role):
    with pytest.raises(DataError, match=rf"row 4.*a {role} message holds half a character"):
        ids_of(encoder, role, "a \ud83d b")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("What is it?", "What is it?"),
        ("<image><image>What is it?", "What is it?"),
        ("boxes\n<image> <image>\nWhat is \\<image>?", "\nWhat is <image>?"),
        ("first <image> second <image> which?", "first <image> second <image> which?"),
        ("Describe <image>", "Describe <image>"),
        ("", ""),
    ],
)
def test_the_question_stands_behind_images_that_stand_together(text, asked):
    assert ALL_MARKS.question(text) == asked
