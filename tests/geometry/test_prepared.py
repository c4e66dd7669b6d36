"""Prepared scenes as rooms: which objects can be asked about, what is counted, and what is refused."""

import copy
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from plan_scenes import plan, scene_content

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.geometry.appearance import appearance_questions, first_seen, in_order
from gpt4scene.geometry.asking import read_data
from gpt4scene.geometry.prepared import prepared_room
from gpt4scene.geometry.room import RoomObject, Sighting, room
from gpt4scene.geometry.routes import BACK, LEFT, RIGHT, is_clear, route_questions, turn_of
from gpt4scene.geometry.scene_questions import scene_questions, wanted
from gpt4scene.geometry.visible import visible_share
from gpt4scene.geometry.walking import WalkMap, footprint_distance, read_map

CAMERA = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
AHEAD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@pytest.fixture
def content():
    return copy.deepcopy(scene_content(plan(1), 8))


def thing(number, label="box", center=(0, 0, 0), size=(1, 1, 1), axes=None):
    return RoomObject(
        number, label, np.array(center, float), np.array(size, float), np.eye(3) if axes is None else axes
    )


def test_a_room_holds_outline_area_floor_and_what_each_frame_shows(content):
    found = prepared_room(content, "scene.json")
    assert found.room.area == pytest.approx(plan(1).width * plan(1).depth) and found.floor is not None
    assert len(found.room.sightings) == 8 and found.room.floor_z == 0
    for sighting, frame in zip(found.room.sightings, content["frames"], strict=True):
        assert set(sighting.shares) <= {mark["id"] for mark in frame["markers"]}
        assert all(0 < share <= 1 for share in sighting.shares.values())
        np.testing.assert_array_equal(sighting.position_3, np.array(frame["pose"])[:3, 3])


def test_a_name_is_dropped_when_one_of_its_objects_is_never_seen(content):
    stools = [item["id"] for item in content["objects"] if item["label"] == "chair"]
    content["objects"].append({"id": 99, "label": "chair", "center": [0, 0, 0.3], "size": [0.3, 0.3, 0.6]})
    content["ground_truth"] = content["objects"]
    found = prepared_room(content, "scene.json")
    assert "chair" not in found.room.by_label
    assert found.dropped == {"objects of a name that the frames do not show in full number": len(stools) + 1}


@pytest.mark.parametrize("label", ["wall", "Object", "unknown", "", "other_furniture", "ceiling beam"])
def test_what_has_no_name_of_its_own_is_dropped_and_counted(content, label):
    content["objects"][0] = {**content["objects"][0], "label": label}
    content["ground_truth"] = content["objects"]
    found = prepared_room(content, "scene.json")
    assert content["objects"][0]["id"] not in {item.id for item in found.room.objects}
    assert found.dropped["objects without a name of their own"] == 1


def test_an_object_without_a_box_is_dropped_and_counted(content):
    content["objects"].append({"id": 98, "label": "vase", "center": [0, 0, 0], "size": [0, 0, 0]})
    content["ground_truth"] = content["objects"]
    assert prepared_room(content, "scene.json").dropped["objects without a box"] == 1


def test_nobody_counts_a_kind_of_which_one_has_no_box(content):
    """A third lamp without a box would make two of three."""
    content["objects"].append({"id": 98, "label": "Chair", "center": [0, 0, 0], "size": [0, 0, 0]})
    content["ground_truth"] = content["objects"]
    found = prepared_room(content, "scene.json")
    assert "chair" not in found.room.by_label and found.dropped["objects without a box"] == 1


@pytest.mark.parametrize("key", ["center", "size"])
def test_a_box_that_is_no_number_is_refused_though_no_frame_would_show_it(content, key):
    content["ground_truth"][0] = {**content["ground_truth"][0], key: [float("nan"), 1.0, 1.0]}
    with pytest.raises(DataError, match=r"scene\.json: object \d+: its box is not made of finite numbers"):
        prepared_room(content, "scene.json")


def test_annotated_objects_go_before_proposals_and_are_seen_where_theirs_are(content):
    content["objects"] = [
        {**item, "id": 50 + item["id"], "label": "proposal", "size": [1.05 * side for side in item["size"]]}
        for item in content["objects"]
    ]
    for frame in content["frames"]:
        frame["markers"] = [{**mark, "id": 50 + mark["id"]} for mark in frame["markers"]]
    found = prepared_room(content, "scene.json")
    assert {item.label for item in found.room.objects} == {item["label"] for item in content["ground_truth"]}
    assert found.room.sightings[0].shares
    numbered = prepared_room(content, "scene.json", numbered=True)
    first = numbered.room.objects[0]
    assert first.label.endswith(f"<OBJ{50 + first.id:03d}>")


def test_a_turned_box_takes_the_place_of_the_one_along_the_axes(content):
    item = content["objects"][0]
    content["room"]["turned"] = [{"id": item["id"], "center": [0, 0, 1], "size": [2, 1, 0.5], "degrees": 90.0}]
    content["room"]["ground_truth_turned"] = content["room"]["turned"]
    found = next(one for one in prepared_room(content, "scene.json").room.objects if one.id == item["id"])
    np.testing.assert_allclose(found.corners_83.max(axis=0), [0.5, 1, 1.25], atol=1e-9)


def test_clusters_have_no_names_so_nothing_is_asked(content):
    content["objects"] = [{**item, "label": "object"} for item in content["objects"]]
    content["ground_truth"] = []
    made = scene_questions(content, "scene.json", wanted("vsi"))
    assert {question.kind for question in made.questions} == {"room_size_estimation"}
    assert made.dropped["objects", "objects without a name of their own"] == len(content["objects"])


def test_a_scene_of_an_earlier_version_has_no_room_size_and_no_routes(content):
    del content["room"]
    made = scene_questions(content, "scene.json", wanted("vsi"))
    kinds = {question.kind for question in made.questions}
    assert not kinds & {"room_size_estimation", "route_planning"} and "object_abs_distance" in kinds
    assert made.dropped["route_planning", "scene without a map of its floor"] == 1


def test_a_room_in_pieces_has_no_size(content):
    content["room"]["beside"] = 9.0
    assert prepared_room(content, "scene.json").room.area is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("frames"),
        lambda content: content["frames"][0].update(markers=[{"id": 77, "area": 0.5}]),
        lambda content: content["objects"][0].update(center="here"),
        lambda content: content["objects"][0].update(size=[1, 2]),
        lambda content: content["room"].update(outline=[[0, 0]]),
        lambda content: content["room"].update(walkable={"cell": 0.1}),
    ],
)
def test_a_description_of_another_form_is_refused_in_one_sentence(content, spoil):
    spoil(content)
    with pytest.raises(DataError, match=r"^rooms/scene.json: ") as caught:
        prepared_room(content, "rooms/scene.json")
    assert "\n" not in str(caught.value)


def test_numbers_let_every_object_be_asked_about_and_counts_stay_by_name(content):
    made = scene_questions(content, "scene.json", wanted("vsi", refer="number", per_kind=40))
    for question in made.questions:
        if question.kind in ("object_counting", "room_size_estimation"):
            assert "<OBJ" not in question.question
        elif question.kind != "route_planning":
            assert "<OBJ" in question.question
    sized = {number for one in made.questions if one.kind == "object_size_estimation" for number in one.objects}
    assert sized == {item["id"] for item in content["objects"]}
    with pytest.raises(ConfigError, match="--refer label"):
        wanted("revsi", refer="number")


@pytest.mark.slow
def test_the_same_scene_and_seed_give_the_same_questions_and_other_seeds_others(content):
    made = [scene_questions(content, "scene.json", wanted("vsi", seed=seed)).questions for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_rules_of_the_second_set_have_their_own_kinds(content):
    kinds = {one.kind for one in scene_questions(content, "scene.json", wanted("revsi")).questions}
    assert "obj_appearance_order" not in kinds and "object_rel_distance_farthest" in kinds


def test_half_of_a_box_is_seen_where_half_of_its_outline_is_covered():
    box = thing(0, center=(0, 3, 0))
    front = 100 * 1 / 2.5  # pixels of its nearest side
    assert visible_share(box, AHEAD, CAMERA, (100, 100), front**2 / 2 / 100**2) == pytest.approx(0.5)
    assert visible_share(box, AHEAD, CAMERA, (100, 100), 0.9) == 1


def test_a_box_that_reaches_behind_the_camera_is_seen_in_part():
    around = thing(0, center=(0, 0.5, -1.2), size=(2, 4, 1))
    assert 0 < visible_share(around, AHEAD, CAMERA, (100, 100), 0.1) < 0.1


def sighted(*frames, seconds=None):
    labels = "abcde"
    objects = [thing(number, label) for number, label in enumerate(labels)]
    times = seconds or [None] * len(frames)
    return room(
        "r",
        objects,
        sightings=[Sighting(str(n), seen, time) for n, (seen, time) in enumerate(zip(frames, times, strict=True))],
    )


def test_first_appearances_go_by_clear_views_after_which_no_glimpse_came_before():
    found = sighted({0: 0.5, 3: 0.02}, {1: 0.5}, {2: 0.5}, {3: 0.5}, {4: 0.5})
    assert first_seen(found)["d"] == (0, 3) and first_seen(found)["b"] == (1, 1)
    made = appearance_questions(found, random.Random(0), 9)
    assert [question.truth for question in made.questions] == ["a, b, c, e"]
    assert made.dropped["obj_appearance_order", "first seen in one frame"] == 4


def test_what_comes_within_a_second_is_not_asked_where_times_are_known():
    found = sighted({0: 0.5}, {1: 0.5}, seconds=[0.0, 0.9])
    seen = first_seen(found)
    assert not in_order(found, seen["a"], seen["b"])
    assert in_order(sighted({0: 0.5}, {1: 0.5}, seconds=[0.0, 1.0]), seen["a"], seen["b"])


@pytest.mark.parametrize(
    ("degrees", "turn"), [(0, None), (29, None), (31, LEFT), (-31, RIGHT), (134, LEFT), (-136, BACK), (180, BACK)]
)
def test_turns_have_limits(degrees, turn):
    assert turn_of(degrees) == turn


def test_turns_near_a_limit_are_not_clear():
    assert is_clear(90) and is_clear(-165) and not is_clear(40) and not is_clear(-125) and not is_clear(145)


def test_maps_are_read_with_the_highest_row_first_and_a_body_has_a_width():
    found = read_map(["   ", "......", "......", "......", "......", "......", "......"], -1.0, 2.0, 0.1)
    assert found.walkable_YX.shape == (7, 6) and not found.walkable_YX[-1].any()
    np.testing.assert_array_equal(found.free(np.array([[-0.7, 2.3], [-0.95, 2.3], [9, 9]])), [True, False, False])


def test_ways_are_straight_and_free():
    cells = np.ones((40, 40), dtype=bool)
    cells[18:22, 15:25] = False
    found = WalkMap(cells, 0.0, 0.0, 0.1)
    goal = thing(0, center=(2.0, 3.5, 0.5), size=(0.4, 0.4, 1))
    ends = found.ways_to(np.array([[0.5, 3.5], [2.0, 0.5]]), goal)
    assert footprint_distance(goal, ends[:1])[0] == pytest.approx(0.6, abs=0.06) and np.isnan(ends[1]).all()


def test_a_room_without_map_or_with_too_few_objects_has_no_routes():
    few = room("r", [thing(0, "a"), thing(1, "b")])
    assert route_questions(few, None, random.Random(0), 5).dropped
    assert not route_questions(few, WalkMap(np.ones((9, 9), bool), 0, 0, 0.1), random.Random(0), 5).questions


def test_wordings_of_training_rows_change_nothing_but_words(content):
    ways = [wanted("vsi", varied=varied) for varied in (False, True)]
    plain, varied = (scene_questions(content, "scene.json", way).questions for way in ways)
    assert [replace(one, question="") for one in plain] == [replace(one, question="") for one in varied]
    for kind in ("route_planning", "obj_appearance_order"):
        texts = [[one.question[:12] for one in some if one.kind == kind] for some in (plain, varied)]
        assert len(set(texts[0])) <= 1 and (len(texts[0]) < 5 or len(set(texts[1])) > 1)


def test_every_wording_of_a_kind_holds_the_same_fields():
    for kind, texts in read_data("path_wordings.yaml").items():
        fields = {frozenset(re.findall(r"\{(\w+)\}", text)) for text in texts}
        assert len(fields) == 1 and len(texts) == len(set(texts)) > 1, kind
