import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.metrics.object_ids import object_ids, object_mark, object_spans


def test_identifiers_have_three_digits_and_capitals():
    text = "<OBJ001> <obj002> <OBJ03> <OBJ0004> OBJ005 <OBJ006>, <OBJ٠٠٧>"
    assert object_ids(text) == [1, 6, 7]


@given(st.lists(st.integers(0, 999)))
def test_identifiers_come_back(indices):
    assert object_ids("Yes. " + " and ".join(map(object_mark, indices)) + ".") == indices


def test_there_is_no_fourth_digit():
    with pytest.raises(ValueError, match="0 to 999"):
        object_mark(1000)


def test_spans_are_where_each_identifier_stands_as_it_is_written():
    text = "a <OBJ001> b <OBJ٠٠٧><OBJ０１２>"
    assert [(number, text[span]) for number, span in object_spans(text)] == [
        (1, "<OBJ001>"),
        (7, "<OBJ٠٠٧>"),
        (12, "<OBJ０１２>"),
    ]
