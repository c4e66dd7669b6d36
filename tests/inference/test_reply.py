import json

import pytest
from chat_server import reply

from gpt4scene.inference.reply import NoAnswer, is_empty, read_reply, text_of, words_of


def odd(**changes):
    return {**reply(), **changes}


def with_message(**message):
    body = reply()
    body["choices"][0]["message"] = {"role": "assistant", **message}
    return body


TOOL = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]

NO_ANSWERS = {
    "content null": (reply(None), "content.*null"),
    "no content": (with_message(), "content.*null"),
    "a number": (reply(7), "content.*7"),
    "an object": (reply({"text": "x"}), "no text"),
    "a list with an image": (reply([{"type": "text", "text": "A"}, {"type": "image_url"}]), "other things than texts"),
    "a list of strings": (reply(["A"]), "other things than texts"),
    "refusal": (reply(None, refusal="I can't look at rooms."), "refused: .*I can't look"),
    "tool calls": (reply(None, "tool_calls", tool_calls=TOOL), "called a tool.*look"),
    "text beside tool calls": (reply("Let me look.", "tool_calls", tool_calls=TOOL), "called a tool"),
    "reasoning only": (
        reply(None, "length", reasoning_content="Let me think"),
        "reasoning but no .*Let me think",
    ),
    "reasoning beside an empty text": (reply("", reasoning="Hm"), "reasoning but no answer"),
    "reasoning beside spaces": (reply(" \n", reasoning_content="Hm"), "reasoning but no answer"),
    "reasoning in the text, cut": (reply("<think>Hm, is it", "length"), "reasoning but no answer.*length.*is it"),
    "reasoning in the text alone": (reply("\n<think>Hm</think>\n"), "reasoning but no answer"),
    "text beside a refusal": (reply("Sorry.", refusal="I can't look."), "refused: .*I can't look"),
    "a refusal in an object": (reply("Sorry.", refusal={"why": "policy"}), "refused: .*policy"),
    "true": (reply(True), "no text but true"),
    "zero": (reply(0), "no text but 0"),
    "a part of a stream": (odd(choices=[{"index": 0, "delta": {"content": "A"}}]), "no 'message'"),
    "choices by name": (odd(choices={"0": reply()["choices"][0]}), "no 'choices'"),
    "an end that is a list": (reply("A", ["stop"]), "finish_reason is"),
    "an end that is an object": (reply("A", {"type": "stop"}), "finish_reason is"),
    "an end without a word": (reply("A", ""), "finish_reason is"),
    "a filter without text": (reply(None, "content_filter"), "content_filter"),
    "filtered": (reply("A", "content_filter"), "content_filter"),
    "aborted": (reply("A", "abort"), "abort"),
    "an unknown end": (reply("A", "tired"), "tired"),
    "no choices": (odd(choices=[]), "no 'choices'"),
    "choices null": (odd(choices=None), "no 'choices'"),
    "several choices": (odd(choices=reply()["choices"] * 2), "2 choices"),
    "no message": (odd(choices=[{"index": 0, "text": "A chair.", "finish_reason": "stop"}]), "no 'message'.*A chair"),
    "message null": (odd(choices=[{"message": None}]), "no 'message'"),
    "a choice that is a text": (odd(choices=["A chair."]), "no 'message'"),
    "an error with status 200": ({"error": {"message": "out of memory", "code": 500}}, "an error: out of memory"),
    "an error as a text": ({"error": "overloaded"}, "an error: overloaded"),
    "an error beside an answer": (odd(error={"message": "stopped early"}), "stopped early"),
    "a list": ([reply()], "no object"),
    "null": (None, "no object"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_an_error_with_the_servers_words(name):
    body, words = NO_ANSWERS[name]
    with pytest.raises(NoAnswer, match=words):
        read_reply(json.dumps(body))


@pytest.mark.parametrize("text", ["", "<html><body><h1>Bad gateway</h1></body></html>", '{"choices": [', "data: {}"])
def test_what_is_no_json_is_shown_without_its_marks(text):
    with pytest.raises(NoAnswer, match="no JSON") as raised:
        read_reply(text)
    assert "<" not in str(raised.value) and raised.value.again


@pytest.mark.parametrize("name", ["refusal", "tool calls", "reasoning only", "several choices"])
def test_what_a_model_says_for_good_is_not_asked_again(name):
    with pytest.raises(NoAnswer) as raised:
        read_reply(json.dumps(NO_ANSWERS[name][0]))
    assert not raised.value.again


@pytest.mark.parametrize("reason", ["stop", "length", None, "eos_token"])
def test_an_answer_keeps_how_it_ended(reason):
    found = read_reply(json.dumps(reply("A chair.", reason)))
    assert (found.text, found.finish_reason, found.tokens, found.model) == ("A chair.", reason, 2, "qwen")


def test_parts_that_are_all_texts_are_one_text():
    parts = [{"type": "text", "text": "A "}, {"type": "text", "text": "chair."}]
    assert read_reply(json.dumps(reply(parts))).text == "A chair."


REASONED = {
    "beside": reply("A chair.", reasoning_content="Hm"),
    "in the text": reply("<think>Hm</think>\n\nA chair."),
    "begun in the prompt": reply("Hm, a bed?\n</think>\nA chair."),
}


@pytest.mark.parametrize("name", REASONED)
def test_reasoning_beside_an_answer_is_left_out(name):
    assert read_reply(json.dumps(REASONED[name])).text == "A chair."


@pytest.mark.parametrize("text", ["", " \n\t", "\u00a0", "\u200b", "\ufeff", "\u2028\u3000", "\x00"])
def test_what_shows_nothing_is_empty(text):
    assert is_empty(text) and not is_empty(text + ".") and not is_empty(text + "椅")


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        ("Stühle 椅".encode(), None),
        ("Stühle 椅".encode(), "UTF-8"),
        ("Stühle 椅".encode(), "us-ascii"),
        (b"\xef\xbb\xbf" + "Stühle 椅".encode(), "utf-8"),
        ("Stühle 椅".encode("utf-16"), None),
        ("Stühle 椅".encode("utf-16"), "utf-16"),
        ("Stühle 椅".encode("gb18030"), "gb18030"),
    ],
)
def test_bytes_are_read_as_their_sender_says(content, charset):
    assert text_of(content, charset) == "Stühle 椅"


@pytest.mark.parametrize(("content", "charset"), [(b'{"a": "\xff\xfe"}', None), (b"A \xe4", "utf-8"), (b"A", "wrong")])
def test_bytes_that_are_no_text_are_no_answer(content, charset):
    """With replaced letters, a reply in another charset would read like the model's own words."""
    with pytest.raises(NoAnswer, match="no text in") as raised:
        text_of(content, charset)
    assert raised.value.again


DEEP = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "<" * DEEP,
        "<head" * DEEP,
        "[" * DEEP,
        '{"error":' * DEEP,
        '{"error":' * 900 + "1" + "}" * 900,
        "</" * DEEP,
        "\x1b[2J",
    ],
    ids=lambda text: text[:8],
)
def test_no_reply_takes_the_square_of_its_length_or_reaches_the_terminal_as_a_command(text):
    with pytest.raises(NoAnswer) as raised:
        read_reply(text)
    assert len(str(raised.value)) < 500 and str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "too long", "code": 400}}', "too long"),
        ('{"object": "error", "message": "too long"}', "too long"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ("<html><head><title>x</title></head><p>502 Bad&nbsp;Gateway</p></html>", "502 Bad Gateway"),
        ("", "it said nothing"),
        ("no " * 5000, "no no"),
    ],
)
def test_words_of_an_error(body, words):
    assert words in words_of(body) and len(words_of(body)) < 400
