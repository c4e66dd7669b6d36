import pytest

from gpt4scene.data.conversations import FORMATS, Columns, Tags, alpaca_conversation, sharegpt_conversation
from gpt4scene.errors import DataError
from gpt4scene.types import Origin, Turn

ORIGIN = Origin("demo", "rows.json", 4)
OPENAI = (
    Columns(messages="messages"),
    Tags(role_tag="role", content_tag="content", user_tag="user", assistant_tag="assistant"),
)


def read(row, columns=None, tags=None):
    return sharegpt_conversation(row, columns or Columns(), tags or Tags(), ORIGIN)


def human(text, answer="Yes.", **more):
    return {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": answer}], **more}


def test_both_key_styles_give_the_same_conversation():
    ours = read(human("<image><image>A?", images=["a", "b"]))
    messages = [{"role": "user", "content": "<image><image>A?"}, {"role": "assistant", "content": "Yes."}]
    theirs = read({"messages": messages, "images": ["a", "b"]}, *OPENAI)
    assert ours == theirs
    assert ours.turns == (Turn("user", "<image><image>A?"), Turn("assistant", "Yes."))
    assert ours.images == ("a", "b") and ours.origin is ORIGIN


def test_a_row_in_the_other_key_style_is_read_all_the_same():
    wanted = read(human("<image>A?", images=["a"]))
    assert read(human("<image>A?", images=["a"]), *OPENAI) == wanted
    messages = [{"role": "user", "content": "<image>A?"}, {"role": "assistant", "content": "Yes."}]
    assert read({"messages": messages, "images": ["a"]}) == wanted


def test_system_comes_from_messages_or_column():
    column = Columns(system="rule")
    assert read(human("A?", rule="Short."), column).turns[0] == Turn("system", "Short.")
    assert read(human("A?", rule=""), column).turns[0].role == "user"
    row = human("A?", rule="Short.")
    row["conversations"].insert(0, {"from": "system", "value": "Long."})
    assert read(row, column).turns[0] == Turn("system", "Long.")


def test_marks_and_images_must_agree():
    with pytest.raises(DataError, match=r"rows\.json, row 4 \(dataset 'demo'\): 33 <image> marks, but 32 images"):
        read(human("<image>" * 33 + "A?", images=[f"{i}.jpg" for i in range(32)]))
    with pytest.raises(DataError, match="1 <image> marks, but 0 images"):
        read(human("<image>A?"))
    with pytest.raises(DataError, match="a assistant message holds <image>; images belong to user messages"):
        read(human("A?", "<image>", images=["a"]))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1], "no object with keys"),
        ({"messages": []}, "no list of messages under 'conversations' .keys: messages"),
        ({"conversations": []}, "no list of messages"),
        ({"conversations": [{"role": "user", "content": "A"}]}, "no 'from' and 'value'.*set tags"),
        ({"conversations": [{"from": "robot", "value": "A"}]}, "speaker 'robot' is none of human, gpt, system"),
        ({"conversations": [{"from": "human", "value": "A"}]}, "must take turns.*here: user"),
        ({"conversations": [{"from": "gpt", "value": "A"}, {"from": "human", "value": "B"}]}, "must take turns"),
        ({"conversations": [{"from": "system", "value": "A"}]}, "must take turns"),
        (human(None), "'value' is no text .None"),
        (human("<image>A?", images=[{"bytes": b""}]), "'images' is no list of image paths"),
    ],
)
def test_wrong_rows_are_named(row, words):
    with pytest.raises(DataError, match=rf"rows\.json, row 4 .*{words}"):
        read(row)


def test_alpaca_rows():
    row = {"instruction": "<image>Where?", "input": "Be exact.", "output": "Here.", "images": "a.png"}
    row["history"] = [["Hello", "Hi"]]
    made = alpaca_conversation(row, Columns(), Tags(), ORIGIN)
    assert [turn.text for turn in made.turns] == ["Hello", "Hi", "<image>Where?\nBe exact.", "Here."]
    assert made.images == ("a.png",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "A"}, "no key 'instruction' .keys: question"),
        ({"instruction": "A", "output": 3}, "'output' is no text"),
        ({"instruction": "A", "output": "B", "history": ["ab"]}, "no pair"),
    ],
)
def test_wrong_alpaca_rows_are_named(row, words):
    with pytest.raises(DataError, match=f"row 4.*{words}"):
        alpaca_conversation(row, Columns(), Tags(), ORIGIN)


UNUSED = {
    "video": "a.mp4",
    "audios": ["a.wav"],
    "audio": "a.wav",
    "tools": '[{"name": "look"}]',
    "chosen": {"from": "gpt", "value": "Yes."},
    "rejected": {"from": "gpt", "value": "No."},
    "kto_tag": False,
    "image": "a.jpg",
    "system": "Be brief.",
    **dict.fromkeys(("image_paths", "image_url", "image_urls"), ["http://x/a.png"]),
    **dict.fromkeys(("video_path", "video_url", "audio_path"), "a.mp4"),
    **{"sample_weight": 0.5, "loss_mask": [0], "rejected_response": "No.", "system_prompt": "Be brief."},
}


@pytest.mark.parametrize("key", UNUSED)
@pytest.mark.parametrize("formatting", FORMATS)
def test_a_column_that_means_something_and_is_not_used_is_refused(formatting, key):
    row = {"conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "B."}]}
    row |= {"instruction": "A?", "output": "B."}
    with pytest.raises(DataError, match=rf"rows\.json, row 4 .*'{key}' holds"):
        FORMATS[formatting](row | {key: UNUSED[key]}, Columns(), Tags(), ORIGIN)
    for nothing in (None, "", [], {}, [None], [""]):
        FORMATS[formatting](row | {key: nothing}, Columns(), Tags(), ORIGIN)


@pytest.mark.parametrize("column", ["audios", "tools", "chosen", "rejected", "kto_tag"])
def test_a_column_of_another_name_is_refused_too(column):
    row = {"conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "B."}], "clips": ["a"]}
    with pytest.raises(DataError, match="'clips' holds"):
        FORMATS["sharegpt"](row, Columns(**{column: "clips"}), Tags(), ORIGIN)
    FORMATS["sharegpt"](row | {"clips": []}, Columns(**{column: "clips"}), Tags(), ORIGIN)


@pytest.mark.parametrize(
    ("extra", "asks"),
    [
        ({"tool_calls": [{"name": "look"}]}, True),
        ({"tool_calls": []}, False),
        ({"weight": 0}, True),
        ({"weight": 1}, False),
        ({"loss": False}, True),
        ({"loss": True}, False),
        ({"train": False}, True),
        ({"reasoning_content": "Hm."}, True),
        ({"reasoning_content": None}, False),
        ({"prefix": True}, True),
        ({"prefix": False}, False),
        *[({name: "a"}, True) for name in ("image_url", "video", "audios", "tool_call_id", "rejected", "thought")],
        ({"id": "m1"}, False),
    ],
)
def test_a_message_that_asks_for_more_than_its_text_is_refused(extra, asks):
    row = {"conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "B.", **extra}]}
    if asks:
        with pytest.raises(DataError, match=f"row 4 .*'{next(iter(extra))}'"):
            FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)
    else:
        FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)


@pytest.mark.parametrize("speaker", ["function_call", "observation"])
def test_calls_of_functions_are_refused_by_name(speaker):
    row = {"conversations": [{"from": "human", "value": "A?"}, {"from": speaker, "value": "{}"}]}
    with pytest.raises(DataError, match="function calls are not supported"):
        FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)
