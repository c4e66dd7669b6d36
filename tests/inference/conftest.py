"""A tiny random model, small images and questions about them, shared by the inference tests."""

import json

import numpy as np
import pytest
from commands import infer as main
from PIL import Image
from room_runs import SCENES

from gpt4scene.inference import run
from gpt4scene.types import Question

PROMPTS = (
    "What is it?",
    "Where is the red chair, seen from the door of this room?",
    "Describe <OBJ003> in the scene.",
    "How many tables are there?",
    "I stand beside the bed and look at the window. What is to my left, and what lies behind me?",
    "What is it?",
    "Find the lamp.",
)


def paint(path, seed, size=(84, 56)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 7, size[0] // 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).save(path)
    return str(path)


def _write_annotation(folder, scenes, tasks=("scanqa", "scanrefer"), prompts=PROMPTS, seed=0):
    """An annotation folder: three images a scene, and the prompts as questions of every task about each scene."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = {}
    for number, scene in enumerate(scenes):
        names = [f"images/{scene}_{view}.png" for view in range(3)]
        for view, name in enumerate(names):
            paint(folder / name, seed + 10 * number + view, (84, 56) if view else (112, 84))
        listed[scene] = names
    (folder / "selected_images_mark_3D_val_32.json").write_text(json.dumps(listed))
    for task in tasks:
        rows = [
            {"scene_id": scene, "obj_id": 1, "prompt": prompt, "ref_captions": ["a chair"]}
            for scene in scenes
            for prompt in prompts
        ]
        middle = "_mask3d" if task in ("scanrefer", "scan2cap", "multi3dref") else ""
        (folder / f"{task}{middle}_val.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="session")
def write_annotation():
    return _write_annotation


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    from gpt4scene.demo.tiny_model import build

    return build(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Two scenes: their questions, each about the same three images."""
    folder = tmp_path_factory.mktemp("scenes")
    found = []
    for number in range(2):
        images = tuple(paint(folder / f"{number}_{view}.png", 7 * number + view) for view in range(3))
        found.append([Question("scanqa", i, f"scene{number}", text, images) for i, text in enumerate(PROMPTS)])
    return found


@pytest.fixture
def server():
    from chat_server import ChatServer

    pytest.importorskip("httpx")
    started = ChatServer()
    yield started
    started.close()


@pytest.fixture
def annotation(tmp_path, write_annotation):
    return write_annotation(tmp_path / "annotation", SCENES)


@pytest.fixture
def infer(tiny_folder, annotation, tmp_path, capsys):
    """Runs ``main`` on the tiny model; returns exit status, stdout and stderr."""

    def call(*flags, out="out", model=tiny_folder):
        status = main(
            [f"--model={model}", f"--annotation_dir={annotation}", f"--output_dir={tmp_path / out}"]
            + ["--image_resolution=112", "--max_new_tokens=6", *flags]
        )
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def no_model(monkeypatch):
    monkeypatch.setattr(run, "open_engine", lambda *_, **__: pytest.fail("no model is needed here"))
