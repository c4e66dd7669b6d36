"""Names of objects become ScanRefer's classes, whatever the spelling, and a label map is read whole or refused."""

import pytest
from odd_answers import ODD_ANSWERS

from gpt4scene.benchmarks.described import framed
from gpt4scene.benchmarks.labels import CLASSES, LABEL_MAP, OTHERS, plain_classes, read_label_map, unique_multiple
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

HEAD = "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class\n"


def line(raw, nyu40):
    return f"1\t{raw}\tx\t1\t1\t1\tx\t{nyu40}\n"


def objects(*names):
    return [
        Record({"scene_id": "room", "object_id": str(place), "object_name": name}, f"row {place}")
        for place, name in enumerate(names)
    ]


def test_both_spellings_of_a_class_are_one(tmp_path):
    path = tmp_path / LABEL_MAP
    path.write_text(HEAD + line("fridge", "refridgerator") + line("mini fridge", "refrigerator") + line("box", "box"))
    classes = read_label_map(path)
    assert classes == {"fridge": "refrigerator", "mini fridge": "refrigerator", "box": OTHERS}
    found = unique_multiple(objects("fridge", "box", "box"), classes)
    assert found == {"room": {"0": 0, "1": 1, "2": 1}}
    assert unique_multiple(objects("fridge", "mini_fridge"), classes) == {"room": {"0": 1, "1": 1}}


def test_without_a_label_map_both_spellings_are_names_of_the_class():
    assert unique_multiple(objects("refridgerator", "refrigerator", "bed"), plain_classes()) == {
        "room": {"0": 1, "1": 1, "2": 0}
    }
    assert set(plain_classes().values()) == set(CLASSES)


def test_the_real_label_map_has_every_class(shared_data):
    classes = read_label_map(shared_data / "annotations/meta" / LABEL_MAP)
    assert set(classes.values()) == set(CLASSES)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("1\tchair\tx\n", "line 2: has 3 columns"),
        (line("chair", "chair") + line("chair", "sofa"), "line 3: 'chair' is 'sofa' here"),
    ],
)
def test_a_line_that_can_not_be_used_is_named(tmp_path, rows, sentence):
    path = tmp_path / LABEL_MAP
    path.write_text(HEAD + rows)
    with pytest.raises(DataError, match=sentence):
        read_label_map(path)


def test_a_quotation_mark_does_not_swallow_lines(tmp_path):
    path = tmp_path / LABEL_MAP
    path.write_text(HEAD + line('"tv stand', "cabinet") + line("sofa", "sofa") + line('bed"', "bed"))
    assert read_label_map(path) == {'"tv stand': "cabinet", "sofa": "sofa", 'bed"': "bed"}


@pytest.mark.parametrize(
    "caption", ["a chair .", "sos a chair . eos", "SOS a chair .", "a chair . eos ", "sos\na chair . eos"]
)
def test_a_caption_is_framed_once(caption):
    assert framed(caption) == "sos a chair . eos"
    assert framed(framed(caption)) == framed(caption)


def test_frame_words_inside_a_caption_stay():
    assert framed("an sos sign, sosa and eos lens") == "sos an sos sign, sosa and eos lens eos"


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_odd_answers_are_framed_as_others(name):
    """The work grows with the length of an answer, whatever it is made of."""
    said = framed(ODD_ANSWERS[name])
    assert said.startswith("sos ") and said.endswith(" eos") and "\n" not in said
    assert len(said) <= len(ODD_ANSWERS[name]) + len("sos  eos")
