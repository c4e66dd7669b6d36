"""What ``feature_cache`` can say, and how the memory of a machine becomes a bound."""

from pathlib import Path

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.files.features import FeatureFolder
from gpt4scene.model.feature_choice import open_features
from gpt4scene.model.machine_memory import free_memory
from gpt4scene.settings.coercion import BadValueError
from gpt4scene.settings.config import parse
from gpt4scene.settings.feature_cache import FOLDER_LIMIT, FeatureCacheChoice, feature_cache
from gpt4scene.settings.sizes import bytes_in


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("auto", FeatureCacheChoice()),
        ("off", FeatureCacheChoice(0)),
        ("False", FeatureCacheChoice(0)),
        ("8GB", FeatureCacheChoice(8 * 10**9)),
        ("512 MiB", FeatureCacheChoice(512 * 2**20)),
        ("/data/features", FeatureCacheChoice(None, Path("/data/features"))),
        ("/data/features:200GB", FeatureCacheChoice(None, Path("/data/features"), 200 * 10**9)),
        ("./here:1.5TB", FeatureCacheChoice(None, Path("here"), 1500 * 10**9)),
        ("/odd:name", FeatureCacheChoice(None, Path("/odd:name"), FOLDER_LIMIT)),
    ],
)
def test_values(text, wanted):
    assert feature_cache(text) == wanted


@pytest.mark.parametrize("text", ["8", "8 G", "lots", "8GB:8GB", ":8GB", "-1GB"])
def test_wrong_values_say_what_can_be_written(text):
    with pytest.raises(BadValueError, match="must be auto, off, a size such as 8GB, or a folder"):
        feature_cache(text)


def test_a_size_behind_a_folder_that_is_none_is_no_part_of_its_name():
    with pytest.raises(BadValueError, match="must end in a size such as 200GB, not 'xGB'"):
        feature_cache("/data/features:xGB")
    with pytest.raises(BadValueError, match="must end in a size such as 200GB, not '200G'"):
        feature_cache("/data/features:200G")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadValueError, match="names a file"):
        feature_cache(f"{tmp_path}/file")


def test_a_folder_that_can_not_be_looked_at_is_left_to_the_run(tmp_path):
    """The run says what it can't do there, and goes on."""
    folder = tmp_path / ("x" * 300)
    assert feature_cache(str(folder)).folder == folder
    assert not FeatureFolder(folder, 1).has("0" * 32)


@pytest.mark.parametrize("text", ["GB", "8PB", "1e3GB"])
def test_a_size_is_a_number_with_a_unit(text):
    with pytest.raises(BadValueError, match="such as 8GB"):
        bytes_in(text)


def test_a_config_names_the_wrong_value(tmp_path):
    words = f"--model_name_or_path m --dataset d --output_dir {tmp_path} --feature_cache lots".split()
    with pytest.raises(ConfigError, match="feature_cache must be auto"):
        parse(words)


def test_yaml_may_write_off_without_quotes(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(f"model_name_or_path: m\ndataset: d\noutput_dir: {tmp_path}\nfeature_cache: off\n")
    assert feature_cache(parse([str(file)]).model.feature_cache).off


def test_auto_takes_a_share_of_the_memory_that_processes_divide(tmp_path):
    one = open_features(FeatureCacheChoice(), print, 1, most=10**15)
    four = open_features(FeatureCacheChoice(), print, 4, most=10**15)
    assert 0 < four.memory < one.memory < free_memory()
    assert open_features(FeatureCacheChoice(), print, 1, most=1000).memory == 1000
    assert open_features(FeatureCacheChoice(0), print) is None
    assert open_features(FeatureCacheChoice(None, tmp_path), print).folder.folder == tmp_path
