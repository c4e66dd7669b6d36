"""Geometry as text: it stands before the images, every question of a scene shares it, and what it costs is said."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from commands import infer

from gpt4scene.benchmarks.annotate import AnnotateArguments, annotate
from gpt4scene.benchmarks.questions import load_questions
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.data.datasets import load_conversations
from gpt4scene.data.encoding import Encoder
from gpt4scene.data.groups import group_rows
from gpt4scene.data.packs import make_pack
from gpt4scene.data.templates import ALL_MARKS, TEMPLATES
from gpt4scene.data.vision import VisionRule
from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.raw import write_raw
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.demo.tiny_model import build, build_tokenizer
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.geometry.text import estimated_tokens
from gpt4scene.inference.forward import Network
from gpt4scene.scenes.prepare import PrepareArguments, prepare

TASKS = ("scanqa", "scanrefer", "scan2cap", "sqa3d", "multi3dref")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Two synthetic rooms with their raw files, prepared as training and as validation scenes."""
    out = tmp_path_factory.mktemp("rooms")
    plans = choose_plans(2, 0)
    for plan in plans:
        write_room(plan, out / "rooms", View(160, 120, 8), 0)
    for split in ("train", "val"):
        write_raw(plans, out / "raw", split)
        scenes = str(out / f"scenes_{split}")
        prepare(PrepareArguments(scans=(str(out / "rooms"),), out=scenes, split=split, frames=3, bev_size=160))
    return out


@pytest.fixture
def make(room, tmp_path):
    """Annotates the rooms; returns the folder written and the lines said."""

    def call(geometry="text", split="val", scenes=None, **keys):
        lines, out = [], tmp_path / f"{geometry}_{split}"
        scenes = str(scenes or room / f"scenes_{split}")
        arguments = AnnotateArguments(str(room / "raw"), scenes, str(out), split=split, geometry=geometry, **keys)
        annotate(arguments, say=lines.append)
        return out, lines

    return call


@pytest.fixture
def scenes(room, tmp_path):
    """A copy of the prepared validation scenes, to be changed."""
    return shutil.copytree(room / "scenes_val", tmp_path / "scenes")


def prompts(folder, task="scanqa"):
    return [row["prompt"] for row in json.loads(next(folder.glob(f"{task}*_val.json")).read_text())]


def blocks(texts):
    return {text.partition("<image>")[0] for text in texts}


def attributes(scenes, change):
    path = scenes / "scannet_mask3d_val_attributes.pt"
    content = torch.load(path)
    change(content)
    torch.save(content, path)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_all_questions_of_a_scene_share_the_prefix_with_its_block(make, task):
    folder, _ = make("text+cameras")
    questions = load_questions(folder, task)
    tokenizer = build_tokenizer()
    encoder = Encoder(tokenizer, TEMPLATES["qwen2_vl"], VisionRule(image_resolution=112))
    prefixes = {}
    for question in questions:
        sample = encoder.encode_question(question)
        prefixes.setdefault(question.scene_id, set()).add(sample.ids_L[: sample.cut].tobytes())
        block = question.prompt.partition("<image>")[0]
        assert tokenizer.decode(sample.ids_L[: sample.cut]).partition("<|im_start|>user\n")[2].startswith(block)
        assert sample.ids_L[sample.cut - 1] == tokenizer.convert_tokens_to_ids("<|vision_end|>")
        assert "OBJ" in block and "Cameras: image" in block
    assert len(prefixes) == 2 and all(len(found) == 1 for found in prefixes.values())
    assert len(set().union(*prefixes.values())) == 2


@pytest.mark.slow
def test_training_rows_share_it_too_in_the_words_of_the_question_files(make):
    questions, _ = make("text")
    folder, _ = make("text", split="train")
    rows = load_conversations(["sharegpt_data_chat_scene_3_images_3D_mark"], folder).rows
    encoder = Encoder(build_tokenizer(), TEMPLATES["qwen2_vl"], VisionRule(image_resolution=112))
    keys = group_rows(rows, encoder).keys
    assert set(keys) == {0, 1}
    packs = [
        make_pack([encoder.encode(row) for row, key in zip(rows, keys, strict=True) if key == one]) for one in (0, 1)
    ]
    assert sum(len(pack.branches) for pack in packs) == len(rows)
    assert all("Marked objects" in encoder.tokenizer.decode(pack.prefix_P) for pack in packs)
    asked = set().union(*(blocks(prompts(questions, task)) for task in TASKS))
    assert blocks(row.turns[0].text for row in rows) == asked and len(asked) == 2


@pytest.mark.slow
def test_infer_computes_each_prefix_once_and_its_answers_are_scored(make, tmp_path, monkeypatch):
    folder, _ = make("text", task="scanqa")
    filled = []
    begin = Network.prefill

    def counted(self, *scene):
        filled.append(scene)
        return begin(self, *scene)

    monkeypatch.setattr(Network, "prefill", counted)
    model = build(tmp_path / "model")
    words = [f"--model={model}", f"--annotation_dir={folder}", f"--output_dir={tmp_path / 'out'}"]
    assert infer([*words, "--image_resolution=112", "--max_new_tokens=2"]) == 0
    assert len(filled) == 2
    report = score_folder(tmp_path / "out", folder)["scanqa"]
    assert report.complete and not any("other words" in note for note in report.notes)
    words_asked = set(report.rows.groups["question"])
    assert words_asked & {"what", "how", "is", "where"} and "marked" not in words_asked


@pytest.mark.slow
def test_the_block_holds_every_marked_object_and_the_cameras_of_the_frames(make, room):
    folder, _ = make("text+cameras")
    for scene, images in json.loads((folder / "selected_images_mark_3D_val_3.json").read_text()).items():
        content = json.loads((room / "scenes_val" / "scenes" / scene / "scene.json").read_text())
        rows = json.loads((folder / "scanqa_val.json").read_text())
        lines = next(row["prompt"] for row in rows if row["scene_id"] == scene).partition("<image>")[0].splitlines()
        assert "x right and y up in image 1, the view from above; z up (floor at 0.00)" in lines[0]
        for item, line in zip(content["objects"], lines[1:], strict=False):
            assert line.startswith(f"<OBJ{item['id']:03d}> {item['label']} ")
            numbers = [float(number) for number in re.findall(r"-?\d+\.\d\d", line)]
            assert np.abs(np.subtract(numbers, [*item["center"], *item["size"]])).max() < 0.0051
        assert lines[1 + len(content["objects"])].startswith("Cameras")
        assert [line.split()[0] for line in lines[-3:]] == ["2", "3", "4"] and len(images) == 4
        for frame, line in zip(content["frames"], lines[-3:], strict=True):
            place = [row[3] for row in frame["pose"][:3]]
            assert np.abs(np.subtract([float(one) for one in line.split()[1].split(",")], place)).max() < 0.0051


@pytest.mark.slow
def test_marks_in_labels_are_letters(make, scenes):
    def change(content):
        for entry in content.values():
            entry["objects"][0] = "<image> of a\n<|im_end|>"

    attributes(scenes, change)
    folder, _ = make(scenes=scenes)
    for prompt in prompts(folder):
        before, *images, asked = ALL_MARKS.asked(prompt, ["image.png"] * 4, "here")
        assert "<OBJ000> <image> of a <|im_end|> " in before and not any(images) and asked


@pytest.mark.slow
def test_questions_are_what_they_are_without_geometry(make):
    plain, with_text = (prompts(make(geometry)[0]) for geometry in ("none", "text"))
    assert [ALL_MARKS.question(prompt) for prompt in with_text] == plain


@pytest.mark.slow
def test_the_cost_is_estimated_or_counted(make, tmp_path):
    folder, lines = make()
    costs = sorted(estimated_tokens(block) for block in blocks(prompts(folder)))
    said = f"geometry: {costs[0]:,} to {costs[1]:,} tokens a scene, median {sum(costs) / 2:,.0f}, shared by"
    assert any(line.startswith(said) and "estimated" in line for line in lines)
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    _, lines = make(tokenizer=str(tmp_path / "tokenizer"))
    costs = sorted(len(tokenizer.encode(block)) for block in blocks(prompts(folder)))
    assert any(
        line.startswith(f"geometry: {costs[0]:,} to {costs[1]:,} tokens") and "(counted)" in line for line in lines
    )


@pytest.mark.slow
def test_scenes_without_boxes_are_counted_and_show_images_alone(make, scenes):
    attributes(scenes, lambda content: content[min(content)]["locs"].zero_())
    folder, lines = make(scenes=scenes, task="scanqa")
    assert "geometry: 1 of 2 scenes have no box; they show images alone" in lines
    rows = json.loads((folder / "scanqa_val.json").read_text())
    first = min(row["scene_id"] for row in rows)
    assert {row["scene_id"] == first for row in rows if "<image>" not in row["prompt"]} == {True}
    assert all("<image>" in row["prompt"] for row in rows if row["scene_id"] != first)


@pytest.mark.slow
def test_no_boxes_at_all_are_refused_and_nothing_is_written(make, scenes, tmp_path):
    attributes(scenes, lambda content: [entry["locs"].zero_() for entry in content.values()])
    with pytest.raises(DataError, match="--geometry text needs marked objects with boxes, and none of 2 scenes"):
        make(scenes=scenes)
    assert not (tmp_path / "text_val").exists()


@pytest.mark.slow
def test_without_descriptions_of_scenes_there_is_text_but_no_cameras(make, scenes):
    shutil.rmtree(scenes / "scenes")
    folder, _ = make(scenes=scenes)
    assert all("metres in the aligned frame; z up:" in prompt for prompt in prompts(folder))
    with pytest.raises(DataError, match="scene.json: is not there, and it alone tells cameras"):
        make("text+cameras", scenes=scenes)


@pytest.mark.slow
def test_a_damaged_description_and_images_of_unknown_cameras_are_named(make, scenes):
    path = sorted(scenes.glob("scenes/*/scene.json"))[0]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "frames": content["frames"][1:]}))
    with pytest.raises(DataError, match="scene.json: knows no camera of .*00000.jpg; prepare the scene again"):
        make("text+cameras", scenes=scenes)
    path.write_text(json.dumps({**content, "bev": {}}))
    with pytest.raises(DataError, match="scene.json: is no description of a prepared scene .KeyError: 'floor_height'"):
        make(scenes=scenes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"geometry": "none", "tokenizer": "x"}, "--tokenizer counts the tokens of --geometry; give --geometry text"),
        ({"tokenizer": "nowhere"}, "--tokenizer nowhere is no folder; give that of a model"),
        ({"tokenizer": "."}, "--tokenizer . holds no tokenizer that can be read"),
        ({"task": "mmsi"}, "--geometry text tells of prepared scenes, but MMSI-Bench brings its own images"),
    ],
)
def test_what_cannot_be_is_said(make, keys, said):
    with pytest.raises(ConfigError, match=said):
        make(**keys)
