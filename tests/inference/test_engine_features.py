"""Answers from kept features of images: the same, without decoding images or running the tower again."""

import pytest
import torch

from gpt4scene.data import image_files
from gpt4scene.files.features import FeatureFolder
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.local import load_engine
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.tower import Tower

SETTINGS = GenerationSettings(max_new_tokens=6, temperature=1.0)  # drawn, so that every score counts


@pytest.fixture
def work(monkeypatch):
    """Images decoded, and images that the tower was run on."""
    done = {"decoded": 0, "run": 0}
    decode, encode = image_files.patches, Tower.encode

    def decoded(*args):
        done["decoded"] += 1
        return decode(*args)

    def run(self, grids, *rest):
        done["run"] += len(grids)
        return encode(self, grids, *rest)

    monkeypatch.setattr(image_files, "patches", decoded)
    monkeypatch.setattr(Tower, "encode", run)
    return done


def engine_of(folder, features, **options):
    return load_engine(folder, image_resolution=112, device="cpu", features=features, **options)


def texts(engine, questions):
    return {answer.question.key: answer.text for answer in engine.answer(questions, SETTINGS)}


def test_a_prefix_that_was_dropped_comes_back_without_its_images(tiny_folder, scenes, work):
    wanted = texts(engine_of(tiny_folder, None), scenes[0])
    engine = engine_of(tiny_folder, FeatureCache(10**8), prefix_memory=0)
    images = len(scenes[0][0].images)
    work.update(decoded=0, run=0)
    for _ in range(3):
        assert texts(engine, scenes[0]) == wanted
        texts(engine, scenes[1])
    assert work == {"decoded": 2 * images, "run": 2 * images}


def test_a_folder_serves_another_process(tiny_folder, scenes, work, tmp_path):
    first = FeatureCache(0, FeatureFolder(tmp_path, 10**8))
    wanted = texts(engine_of(tiny_folder, first), scenes[0])
    first.close()
    work.update(decoded=0, run=0)
    later = engine_of(tiny_folder, FeatureCache(10**8, FeatureFolder(tmp_path, 10**8)))
    assert texts(later, scenes[0]) == wanted and work == {"decoded": 0, "run": 0}


def test_weights_changed_in_place_are_not_answered_from_old_features(tiny_folder, scenes, work):
    engine = engine_of(tiny_folder, FeatureCache(10**8))
    before = texts(engine, scenes[0])
    weight = engine.model.get_submodule("model.visual.merger.mlp.2").weight
    weight.data += torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    work.update(run=0)
    after = texts(engine, scenes[0])
    assert after != before and work["run"] == len(scenes[0][0].images)
