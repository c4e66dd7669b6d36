"""Thoughts of growing answers are parted from what is said, wherever tokens cut the marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.files.thoughts import split_thought
from gpt4scene.inference.tokens import Token
from gpt4scene.serve.choices import Choice, Head
from gpt4scene.serve.stops import StopFinder
from gpt4scene.serve.thoughts import ThoughtFinder
from gpt4scene.types import Answer, Question

WORDS = st.sampled_from(["<think>", "<thi", "nk>", "\n", " ", "</think>", "</th", "ink>", "Red.", "a"])


@given(st.lists(WORDS, max_size=8), st.booleans(), st.data())
def test_pieces_give_what_the_whole_text_gives(words, opened, data):
    whole = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    found = {}
    for parts in (pieces, [whole]):
        finder = ThoughtFinder(opened)
        fed = [finder.feed(piece, last=number + 1 == len(parts)) for number, piece in enumerate(parts)]
        found[len(parts) > 1 or parts is pieces] = ("".join(t for t, _ in fed), "".join(s for _, s in fed))
        thought, said = "".join(t for t, _ in fed), "".join(s for _, s in fed)
        assert said in whole and thought in whole
    assert len(set(found.values())) == 1
    text = ("<think>" if opened else "") + whole
    if text.count("</think>") < 2 and (opened or whole.lstrip().startswith("<think>")):
        assert (thought.strip(), said.strip()) == (split_thought(text)[0], split_thought(text)[1].strip())


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\nBy the door.\n</think>\n\nThere.", "By the door.", "There."),
        ("By the door.\n</think>\n\nThere.", "By the door.", "There."),
        ("<think>\n\n</think>\n\nThere.", "", "There."),
        ("<think>\nBy the do", "By the do", ""),
        ("There.", "", "There."),
        ("", "", ""),
    ],
)
def test_whole_texts(text, thought, answer):
    assert split_thought(text) == (thought, answer)


def answered(pieces, opening=""):
    """The message of a reply, and the pieces of its stream put together."""
    whole = opening + "".join(pieces)
    answer = Answer(Question("chat", 0, "room", "?"), whole, len(pieces), "stop")
    tokens = [Token(0, n, piece) for n, piece in enumerate(pieces[:-1])]
    tokens.append(Token(0, 9, pieces[-1], finish_reason="stop", answer=answer))
    head, streamed = Head("id", 0, "m", None), {}
    choice = Choice(0, StopFinder(()), None, True, opening)
    for token in tokens:
        choice.add(token)
        for name, text in (head.piece(choice) or {"choices": [{"delta": {}}]})["choices"][0]["delta"].items():
            streamed[name] = streamed.get(name, "") + text
    at_once = Choice(0, StopFinder(()), None, False, opening)
    at_once.add(tokens[-1])
    return head.completion([at_once], {})["choices"][0]["message"], streamed


def test_replies_give_the_thought_as_reasoning_content():
    message, streamed = answered(["<th", "ink>\n", "By the door.", "</thi", "nk>\n\n", "There."])
    assert message == {
        "role": "assistant",
        "content": "There.",
        "reasoning_content": "By the door.",
        "refusal": None,
    }
    assert streamed == {"content": "There.", "reasoning_content": "By the door."}
    assert answered(["By the door", "\n</think>\n\nThere."], "<think>\n")[0]["content"] == "There."
    assert answered(["There."]) == (
        {"role": "assistant", "content": "There.", "refusal": None},
        {"content": "There."},
    )
