import pytest

from gpt4scene.data.split import scene_groups, split_rows

SCENES = [tuple(f"scene{s}/{i}.png" for i in range(3)) for s in range(10)]
IMAGES = [SCENES[row % 10] for row in range(200)]


@pytest.mark.parametrize("val_size", [0.2, 40])
def test_by_scene_no_image_is_on_both_sides(val_size):
    train, val = split_rows(IMAGES, val_size, seed=1)
    assert sorted(train + val) == list(range(200)) and len(val) == 40
    assert not {IMAGES[row] for row in train} & {IMAGES[row] for row in val}


@pytest.mark.parametrize("val_size", [3, 8])
def test_one_scene_at_least_stays_on_each_side(val_size):
    images = [SCENES[0], *[SCENES[1]] * 8]
    for seed in range(10):
        train, val = split_rows(images, val_size, seed=seed)
        assert train and val and images[train[0]] != images[val[0]]


def test_rows_with_some_common_images_are_one_scene():
    nine, thirty_three = ("bev.png", "f0.png"), ("bev2.png", "f0.png", "f1.png")
    assert scene_groups([nine, thirty_three, ("other.png",), nine, ()]) == [0, 0, 1, 0, 2]


def test_by_row_takes_the_exact_number():
    train, val = split_rows(IMAGES, 13, by="row", seed=1)
    assert len(val) == 13 and len(train) == 187
    assert {IMAGES[row] for row in train} & {IMAGES[row] for row in val}


def test_the_seed_decides():
    assert split_rows(IMAGES, 0.1, seed=1) == split_rows(IMAGES, 0.1, seed=1)
    assert split_rows(IMAGES, 0.1, seed=1) != split_rows(IMAGES, 0.1, seed=2)


def test_zero_is_no_validation():
    assert split_rows(IMAGES, 0) == (list(range(200)), [])


def test_impossible_splits_are_refused():
    with pytest.raises(ValueError, match=r"leaves no training rows.*1 scene\).*split by row"):
        split_rows([SCENES[0]] * 5, 0.2)
    with pytest.raises(ValueError, match="val_size 200 leaves no training rows"):
        split_rows(IMAGES, 200, by="row")
    with pytest.raises(ValueError, match="'room' is none of scene, row"):
        split_rows(IMAGES, 0.2, by="room")
