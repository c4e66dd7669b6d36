"""A tiny checkpoint, a tiny dataset, and runs of the training recipe on them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpt4scene.demo import tiny_model
from gpt4scene.settings.config import parse
from gpt4scene.training import sft

ANSWERS = ("Red.", "Two lamps on a table.", "A chair.", "No.")
DATASET = "rooms"

SEVERAL_RUNS = """
import json, sys
from gpt4scene.settings.config import parse
from gpt4scene.training import processes, sft
for words in json.load(open(sys.argv[1])):
    sft.run(parse(words))
processes.end_of_several(0)
"""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory) -> Path:
    """``model/`` and ``data/``: two scenes of two images, four questions each, answers of unequal length.

    The dataset ``words`` has two rows without images, ``texts`` four plain texts, and ``pairs`` the questions of
    ``rooms``, each with its answer and a worse one.
    """
    folder = tmp_path_factory.mktemp("workshop")
    shape = tiny_model.TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    tiny_model.build(folder / "model", shape=shape)
    data, random, rows = folder / "data", np.random.default_rng(0), []
    data.mkdir()
    for scene in range(2):
        images = [f"scene{scene}_{index}.png" for index in range(2)]
        for image in images:
            Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(data / image)
        for number, answer in enumerate(ANSWERS):
            question = f"<image><image>What is object {number} in the room?"
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            rows.append({"messages": messages, "images": images})
    (data / "rows.json").write_text(json.dumps(rows))
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": tags,
    }
    words = [{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]}] * 2
    (data / "words.json").write_text(json.dumps(words))
    entries = {DATASET: entry, "words": entry | {"file_name": "words.json", "columns": {"messages": "messages"}}}
    pairs = [
        {"messages": row["messages"][:1], "images": row["images"]}
        | {"chosen": row["messages"][1], "rejected": {"role": "assistant", "content": f"{number} pink elephants."}}
        for number, row in enumerate(rows)
    ]
    (data / "pairs.json").write_text(json.dumps(pairs))
    columns = entry["columns"] | {"chosen": "chosen", "rejected": "rejected"}
    entries["pairs"] = entry | {"file_name": "pairs.json", "ranking": True, "columns": columns}
    texts = [{"text": f"Room {number} holds {answer.lower()}" * (number + 1)} for number, answer in enumerate(ANSWERS)]
    (data / "texts.json").write_text(json.dumps(texts))
    entries["texts"] = {"file_name": "texts.json", "columns": {"prompt": "text"}}
    (data / "dataset_info.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def flags(workshop):
    """Return a function: output folder and further keys -> words of a command line. All 8 rows are one step."""

    def make(output: Path, **keys) -> list[str]:
        given = {
            "model_name_or_path": workshop / "model",
            "dataset": DATASET,
            "dataset_dir": workshop / "data",
            "output_dir": output,
            "finetuning_type": "full",
            "image_resolution": 56,
            "per_device_train_batch_size": 8,
            "num_train_epochs": 3,
            "learning_rate": 1e-3,
            "save_strategy": "no",
        } | keys
        return [word for key, value in given.items() for word in (f"--{key}", str(value))]

    return make


@pytest.fixture
def train(flags):
    """Return a function that trains in this process and returns the loss of every step."""

    def run(output: Path, **keys) -> list[float]:
        assert sft.run(parse(flags(output, **keys))) == 0
        return losses(output)

    return run


@pytest.fixture
def losses_of():
    return losses


def losses(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="session")
def environment():
    """The environment of a command: no look at a model hub."""
    return os.environ | {"HF_HUB_OFFLINE": "1"}


@pytest.fixture
def torchrun(forked):
    """Return a function that runs ``words`` on two processes from ``folder`` and returns the finished process."""
    return forked.run


@pytest.fixture
def on_two(torchrun, flags, tmp_path):
    """Return a function that trains several runs on two processes of four rows each, and returns their folders."""

    def run(runs: dict[str, dict]):
        words = {
            name: flags(tmp_path / name, **{"per_device_train_batch_size": 4} | keys) for name, keys in runs.items()
        }
        (tmp_path / "script.py").write_text(SEVERAL_RUNS)
        (tmp_path / "runs.json").write_text(json.dumps(list(words.values())))
        done = torchrun([str(tmp_path / "script.py"), str(tmp_path / "runs.json")], tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        return {name: tmp_path / name for name in words}

    return run
