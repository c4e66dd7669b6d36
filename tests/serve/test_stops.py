"""Stop texts are found wherever tokens cut them, and no part of one is shown."""

from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.serve.stops import StopFinder

LETTERS = st.text("ab\n", max_size=12)


@given(st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3), st.lists(LETTERS, max_size=6))
def test_pieces_give_what_the_whole_text_gives(stops, pieces):
    finder, shown = StopFinder(stops), ""
    whole = "".join(pieces)
    for piece in pieces:
        shown += finder.feed(piece)
        assert whole.startswith(shown)
        assert not any(stop in shown for stop in stops)
        if finder.stopped:
            break
    shown += finder.rest()
    places = [whole.find(stop) for stop in stops if stop in whole]
    if not places:
        assert shown == whole and not finder.stopped
    else:
        assert finder.stopped and whole.startswith(shown)
        first = min(place + len(stop) for stop in stops if (place := whole.find(stop)) >= 0)
        assert len(shown) <= first


def test_the_earlier_of_two_stops_in_a_piece_cuts():
    finder = StopFinder(["two", "one"])
    assert finder.feed("zero one two") == "zero " and finder.stopped and finder.feed("more") == ""
