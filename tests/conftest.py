"""Fixtures shared by all tests: the external test data folder, and small environment guards."""

import gc
import os
import signal
from pathlib import Path

import pytest
from forked import Forked
from hypothesis import settings

# How long a test takes says nothing beside other work. A run's result hangs on the code alone; --hypothesis-profile
# search draws examples nobody has seen.
settings.register_profile("search", deadline=None)
settings.register_profile("same examples", deadline=None, derandomize=True)
settings.load_profile("same examples")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tiny models lose by threads beside other work
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it would be ignored


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Thousands of collected tests live to the end: the garbage collector looks at them neither now nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items):
    """Files of slow tests come first, those of the longest limits before them: no process waits at the end for one."""
    limits: dict[Path, int] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            limit = item.get_closest_marker("timeout")
            limits[item.path] = max(limits.get(item.path, 1), limit.args[0] if limit else 1)
    items.sort(key=lambda item: -limits.get(item.path, 0))


ROOT = Path(__file__).resolve().parent.parent


def external_data() -> Path:
    """The folder of real check data: ``GPT4SCENE_TEST_DATA`` or ``../shared/data`` beside the checkout."""
    return Path(os.environ.get("GPT4SCENE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = external_data()
    if not folder.is_dir():
        pytest.skip(f"real check data is absent: {folder} (set GPT4SCENE_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def oracle() -> Path:
    folder = external_data().parent / "oracle" / "set1"
    if not folder.is_dir():
        pytest.skip(f"reference figures are absent: {folder}")
    return folder


@pytest.fixture(scope="session")
def spatial_oracle() -> Path:
    folder = external_data().parent / "oracle" / "spatial"
    if not folder.is_dir():
        pytest.skip(f"reference figures are absent: {folder}")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def forked():
    """Commands of Python without their imports, for tests of what they do."""
    with Forked() as commands:
        yield commands


@pytest.fixture(scope="session")
def python(forked) -> str:
    """A program to call in place of Python where a test is not about the start of Python."""
    return forked.python
