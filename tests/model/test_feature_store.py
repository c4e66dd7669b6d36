"""Where features are kept: within bounds, and whole whatever happens to their writers."""

import multiprocessing
import os
import signal
import threading

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.files.features import FeatureFolder
from gpt4scene.model import features as module
from gpt4scene.model.features import FeatureCache, Features

LARGE = 10**9


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=40), st.integers(0, 40))
def test_memory_stays_within_its_bound_and_keeps_those_used_last(visits, bound):
    cache, model = FeatureCache(bound * 8), {}
    for number, size in visits:
        known = cache.get([str(number)])[0]
        assert (known is None) == (number not in model)
        if known is not None:
            assert torch.equal(known.merged, torch.full((model[number], 2), float(number)))
            model[number] = model.pop(number)
            continue
        cache.put(str(number), Features(torch.full((size, 2), float(number))))
        if size <= bound:
            model[number] = size
        while sum(model.values()) > bound:
            model.pop(next(iter(model)))
        assert cache.bytes == 8 * sum(model.values()) <= bound * 8


def write_forever(folder, numbers):
    cache = FeatureCache(0, FeatureFolder(folder, LARGE))
    while True:
        for number in numbers:
            cache.put(f"{number:032x}", Features(torch.full((500, 64), float(number))))
            cache.close()


def test_killed_writers_of_one_folder_leave_whole_files(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_forever, args=(tmp_path, range(5)), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(200):
        if len(list(tmp_path.rglob("*.safetensors"))) >= 3:
            break
        workers[0].join(0.05)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    said = []
    cache = FeatureCache(0, FeatureFolder(tmp_path, LARGE), said.append)
    found = [one for one in cache.get([f"{number:032x}" for number in range(5)]) if one is not None]
    assert len(found) >= 3 and not said
    assert all(torch.equal(one.merged, torch.full((500, 64), float(one.merged[0, 0]))) for one in found)


def test_what_waits_for_the_disk_is_bounded_and_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WAITING", 100)
    goes_on, written, most = threading.Event(), [], []

    class Slow(FeatureFolder):
        def write(self, key, blocks):
            most.append(cache._waiting)
            assert goes_on.wait(20)
            written.append(key)
            return True

    cache = FeatureCache(0, Slow(tmp_path, LARGE))
    keys = [f"{number % 4:032x}" for number in (0, 0, 1, 2, 3)]
    runs = threading.Thread(target=lambda: [cache.put(key, Features(torch.zeros(4, 5))) for key in keys], daemon=True)
    runs.start()  # 80 bytes each: with two waiting, the third waits
    while runs.is_alive() and cache._waiting < 160:
        runs.join(0.01)
    assert cache._waiting == 160 and cache.knows(keys[:3]) and not cache.knows(keys[3:4])
    goes_on.set()
    runs.join(20)
    cache.close()
    assert written == sorted(set(keys)) and cache._waiting == 0 and max(most) <= 180
