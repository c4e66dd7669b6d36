"""What is known of a row without rendering it is what rendering says."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.marks import IMAGE_MARK, VIDEO_MARK, Marks
from gpt4scene.data.templates import Template
from gpt4scene.errors import DataError
from gpt4scene.files.media import video_name
from gpt4scene.training.run_data import screen
from gpt4scene.types import Conversation, Origin, Turn

PIECES = ["<image>", "<image>", "\\<image>", "\\\\<image>", "\\", "What?", " <OBJ012> ", "caf\u00e9", "\u2019", "\n"]
ODD = ["<video>", "\\<video>", "<|im_end|>", "\\<|im_end|>", "<|box_start|>", "<img>", "\ud800", "<ima", "age>"]
TEXTS = some.lists(some.sampled_from([*PIECES, *PIECES, *ODD]), max_size=6).map("".join)


class Rendering(Encoder):
    """Looks at every row as a whole."""

    def _outline(self, conversation):
        return None, 0


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("images") / "room.png"
    Image.new("RGB", (120, 90)).save(path)
    return str(path)


@pytest.fixture
def both(encoder):
    return encoder, Rendering(encoder.tokenizer, encoder.template, encoder.vision, encoder.cutoff_len)


def said(work, row):
    try:
        return work(row)
    except DataError as error:
        return str(error).split(":")[0]


@given(some.lists(TEXTS, min_size=2, max_size=5), some.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_outlines_are_those_of_rendered_rows(both, path, texts, system):
    outlining, rendering = both
    roles = [*(["system"] if system else []), *(["user", "assistant"] * 3)]
    turns = tuple(map(Turn, roles, texts))
    names = {IMAGE_MARK: path, VIDEO_MARK: video_name([path])}
    shown = tuple(names[mark] for turn in turns for mark in Marks().media(turn.text))
    row = Conversation(turns, shown, Origin("rows", "rows.json", 0))
    assert said(outlining.prefix_key, row) == said(rendering.prefix_key, row)
    bound, exact = said(outlining.length_bound, row), said(rendering.length_bound, row)
    letters = sum(turn.text.count("\\") for turn in turns)
    assert bound == exact or exact < bound <= exact + letters, "backslashes of letters may be counted"


@given(TEXTS)
@settings(deadline=None)
def test_marks_found_are_those_of_a_search_of_the_whole(text):
    for marks in (Marks(), Marks(["<image>s"], ["age>\\", "s<ima"]), Marks(["<|im_end|>"], ["What"])):
        assert marks.found(text) == marks._found(text)
        assert marks.found(text) == marks._found(text), "the same when asked again"


def test_rows_of_many_images_are_rendered_once(encoder, path, monkeypatch):
    asked, render = [], Template.render

    def counted(*arguments, **keys):
        asked.append(1)
        return render(*arguments, **keys)

    monkeypatch.setattr(Template, "render", counted)
    turns = [(Turn("user", f"<image><image>Where is {n}?"), Turn("assistant", f"{n} is here.")) for n in range(50)]
    rows = [Conversation(pair, (path, path), Origin("rows", "rows.json", n)) for n, pair in enumerate(turns)]
    assert len(screen(rows, encoder).rows) == 50 and len(asked) == 1
    assert len({encoder.prefix_key(row) for row in rows}) == 1 and len(asked) == 1


def test_sizes_read_at_once_are_those_read_one_by_one(encoder, tmp_path):
    from PIL import Image

    paths = [str(tmp_path / f"{number}.png") for number in range(200)]
    for number, name in enumerate(paths[:-1]):
        Image.new("L", (28 + number, 56)).save(name)
    row = Conversation((Turn("user", "<image>" * 200), Turn("assistant", "Yes.")), tuple(paths), Origin("r", "f", 3))
    encoder.read_sizes([row])
    assert encoder._sizes._sizes == {name: (28 + number, 56) for number, name in enumerate(paths[:-1])}
    with pytest.raises(DataError, match=r"199\.png \(needed by f, row 3 .*does not exist"):
        screen([row], encoder)
