"""A run that keeps features of images: the same losses, and no image is decoded or run through the tower again."""

import json
import multiprocessing
import time

import pytest
from PIL import Image

from gpt4scene.data import image_files
from gpt4scene.files import contents
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.tower import Tower

IMAGES, EPOCHS = 4, 3
KEYS = {"scene_packing": 4, "finetuning_type": "lora", "learning_rate": 1e-2, "lora_target": "q_proj,v_proj"}


@pytest.fixture
def work(monkeypatch, tmp_path):
    """What was done: images that this process ran the tower on, and a file of those decoded, by workers as well."""
    done = {"run": [], "decoded": tmp_path / "decoded"}
    decode, encode, real = image_files.patches, Tower.encode, time.time_ns
    monkeypatch.setattr(contents.time, "time_ns", lambda: real() + 60 * 10**9)  # files just written are old

    def counted(path, *rest):
        with done["decoded"].open("a") as file:
            file.write(f"{path}\n")
        return decode(path, *rest)

    monkeypatch.setattr(image_files, "patches", counted)
    monkeypatch.setattr(
        Tower, "encode", lambda self, grids, *rest: done["run"].extend(grids) or encode(self, grids, *rest)
    )
    return done


def decoded(work):
    return len(work["decoded"].read_text().splitlines())


def word_of(folder):
    return json.loads((folder / "run.json").read_text())["feature_cache"]


@pytest.fixture(scope="module")
def plain():
    """Losses without a cache, kept for comparison."""
    return []


@pytest.mark.slow
@pytest.mark.parametrize("said", ["off", "auto", "100MB", "folder"])
def test_losses_are_bit_equal_and_the_tower_runs_once_an_image(train, tmp_path, work, plain, said):
    place = f"{tmp_path}/features" if said == "folder" else said
    found = train(tmp_path / "run", feature_cache=place, **KEYS)
    plain[:] = plain or found
    assert found == plain and len(found) == EPOCHS
    times = EPOCHS if said == "off" else 1
    assert len(work["run"]) == decoded(work) == IMAGES * times
    assert ("memory" in word_of(tmp_path / "run")) == (said != "off")
    if said == "folder":
        assert train(tmp_path / "later", feature_cache=place, **KEYS) == plain
        assert len(work["run"]) == IMAGES, "a later run reads the folder"


@pytest.mark.slow
def test_workers_do_not_decode_what_is_known(train, tmp_path, work, plain):
    keys = KEYS | {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 1, "dataloader_persistent_workers": True}
    found = train(tmp_path / "run", feature_cache="100MB", **keys)
    assert found == plain or not plain
    assert len(work["run"]) == decoded(work) == IMAGES


@pytest.mark.slow
def test_no_worker_outlives_its_training_or_evaluation(train, tmp_path):
    """Left to the garbage collector, each would be waited for five seconds, in the middle of what comes next."""
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    train(tmp_path / "run", val_size=2, eval_strategy="steps", eval_steps=1, max_steps=2, **workers)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_dropped_features_are_made_again_from_the_files(train, tmp_path, work, plain, monkeypatch):
    monkeypatch.setattr(FeatureCache, "knows", lambda self, keys: True)  # and are not there when they are needed
    found = train(tmp_path / "run", feature_cache="1B", **KEYS)
    assert found == plain or not plain
    assert decoded(work) == IMAGES * EPOCHS


@pytest.mark.slow
def test_an_image_that_changes_between_epochs_is_seen_anew(train, tmp_path, work, workshop, flags):
    """Its features are not those of its predecessor, although the path is the same."""
    path = workshop / "data" / "scene0_0.png"
    kept, before = path.read_bytes(), train(tmp_path / "before", feature_cache="off", max_steps=1, **KEYS)
    place = f"{tmp_path}/features"
    try:
        assert train(tmp_path / "one", feature_cache=place, max_steps=1, **KEYS) == before
        Image.new("RGB", (80, 60), "red").save(path)
        changed = train(tmp_path / "two", feature_cache=place, max_steps=1, **KEYS)
        assert changed != before
        assert changed == train(tmp_path / "three", feature_cache="off", max_steps=1, **KEYS)
    finally:
        path.write_bytes(kept)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{"freeze_vision_tower": False}, {"freeze_multi_modal_projector": False}])
def test_a_tower_that_learns_has_no_cache_and_says_so(train, tmp_path, capsys, keys):
    train(tmp_path / "run", finetuning_type="full", feature_cache="1GB", max_steps=1, **keys)
    assert word_of(tmp_path / "run") == "off: the vision tower or its merger is trained"
    assert "feature_cache: 1GB has no effect: the vision tower or its merger is trained" in capsys.readouterr().err
