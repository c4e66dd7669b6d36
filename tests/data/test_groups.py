import pytest
from scene_rows import write_image

from gpt4scene.data.groups import LONGEST_RIDER, TEXT, Groups, group_rows, least_shared, parents_of
from gpt4scene.files.tokenized import read_tokenized, write_tokenized
from gpt4scene.types import Conversation, Origin, Turn


@pytest.fixture
def own(tmp_path):
    """Images that only one row has."""
    return [write_image(tmp_path / f"own{i}.png", (60, 60), 10 + i) for i in range(3)]


def parent(groups, row):
    return groups.parents.get(groups.keys[row])


def test_keys_number_the_scenes(encoder, make_row, images):
    rows = [make_row(shown, "A?", "Yes.") for shown in (images, images[:1], images, ())]
    assert group_rows(rows, encoder) == Groups((0, 1, 0, TEXT))


def test_a_row_with_an_image_more_joins_the_scene_that_it_begins_with(encoder, make_row, images, own):
    scene, more, two = make_row(images, "A?", "Yes."), make_row((*images, own[0]), "B?", "No.", 1), (*images, *own[:2])
    groups = group_rows([more, scene, make_row(two, "C?", "No.", 2)], encoder)
    assert parent(groups, 0) == groups.keys[1] and parent(groups, 1) is None
    assert parent(groups, 2) == groups.keys[0] and groups.root(groups.keys[2]) == groups.keys[1]


def test_other_words_between_the_same_images_are_another_scene(encoder, images, own):
    def row(text, shown):
        return Conversation((Turn("user", text), Turn("assistant", "Yes.")), shown, Origin("d", "f", 0))

    plain = row("<image><image><image>A?", images)
    groups = group_rows([plain, row("<image>, <image><image><image>B?", (*images, own[0]))], encoder)
    assert not groups.parents
    groups = group_rows([plain, row("<image><image><image>And this: <image>B?", (*images, own[0]))], encoder)
    assert parent(groups, 1) == groups.keys[0]


def test_rows_that_differ_in_their_last_image_meet_without_a_row_of_the_scene_alone(encoder, make_row, images, own):
    rows = [make_row((*images, path), "A?", "Yes.", i) for i, path in enumerate((own[0], own[1], own[0]))]
    groups = group_rows(rows, encoder)
    assert groups.keys[0] == groups.keys[2] != groups.keys[1]
    assert parent(groups, 0) == parent(groups, 1) is not None and parent(groups, 0) not in groups.keys
    assert not group_rows([rows[0], rows[2]], encoder).parents


def test_few_common_images_make_no_scene():
    assert [least_shared(images) for images in (1, 2, 3, 4, 6, 10, 33, 40)] == [2, 2, 2, 3, 5, 8, 27, 32]
    frames = tuple(f"f{i}" for i in range(33))
    prefixes = {0: (frames[:1], ("",)), 1: (frames, ("",) * 33), 2: (("f0", *"abcdefgh"), ("",) * 9)}
    assert parents_of(prefixes) == {}


def test_parents_may_be_children(make_row, encoder, images, own):
    rows = [make_row(images[:2] + tuple(own[:count]), "A?", "Yes.", count) for count in range(3)]
    groups = group_rows(rows, encoder)
    assert groups.parents == {1: 0, 2: 1} and groups.root(2) == 0


def test_a_long_text_does_not_ride(encoder, make_row):
    short, long = make_row((), "Hello?", "Hi."), make_row((), "word and " * LONGEST_RIDER, "Hi.")
    bytes_alone = make_row((), "a chair " * (LONGEST_RIDER // 6), "Hi.")
    assert encoder.length_bound(bytes_alone) > LONGEST_RIDER > len(encoder.encode(bytes_alone).ids_L)
    assert group_rows([short, long, bytes_alone], encoder).keys == (TEXT, None, TEXT)


def test_tokens_of_rows_make_the_same_groups(encoder, make_row, images, own, tmp_path):
    talk = (Turn("user", "<image>A?"), Turn("assistant", "Yes."), Turn("user", "<image>B?"), Turn("assistant", "No."))
    rows = [
        make_row((*images, own[0]), "A?", "Yes.", 0),
        make_row((), "word and " * LONGEST_RIDER, "Hi.", 1),
        Conversation(talk, images[:2], Origin("talks", "talks.jsonl", 5)),
        make_row(images, "A?", "Yes.", 2),
        make_row((), "Hello?", "Hi.", 3),
        make_row((*images[:2], own[1]), "A?", "Yes.", 4),
        make_row((*images[:2], own[2]), "A?", "Yes.", 5),
    ]
    write_tokenized(tmp_path / "tokens", map(encoder.encode, rows), {})
    read = read_tokenized(tmp_path / "tokens", {})
    for chosen in (range(7), (3, 0, 4, 2), (5, 6, 1), (0, 4)):
        expected = group_rows([rows[index] for index in chosen], encoder)
        found = group_rows(read.select(chosen), encoder)
        order = [key for key in dict.fromkeys(found.keys) if key not in (None, TEXT)]
        order += sorted(set(found.parents.values()) - set(order))
        names = {key: number for number, key in enumerate(order)} | {None: None, TEXT: TEXT}
        assert expected.keys == tuple(names[key] for key in found.keys)
        assert expected.parents == {names[key]: names[above] for key, above in found.parents.items()}
