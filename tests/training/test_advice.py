"""Each usual mistake is said once, with its way out, and a usual run gets no note."""

import re
from types import SimpleNamespace

import pytest

from gpt4scene.settings.config import parse
from gpt4scene.training.advice import advice
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.resume import total_steps
from gpt4scene.types import Conversation, Origin, Turn

USUAL = {
    **{"model_name_or_path": "m", "dataset": "a", "output_dir": "o", "finetuning_type": "lora", "learning_rate": 1e-4},
    **{"gradient_accumulation_steps": 16, "per_device_train_batch_size": 1, "num_train_epochs": 1, "warmup_ratio": 0.1},
}


@pytest.fixture
def notes():
    """Return a function: number of rows, held-out rows, questions a pack, text of rows, keys -> the notes."""

    def make(rows=1000, held_out=0, packed=1, text="What is it?", scenes=50, **keys):
        flags = USUAL | keys
        config = parse([word for key, value in flags.items() for word in (f"--{key}", str(value))])
        arguments = training_arguments(config)
        turns = (Turn("user", f"<image>{text}"), Turn("assistant", "A chair."))
        one = Conversation(turns, ("image.jpg",), Origin("a", "a.json", 0))
        sets = [SimpleNamespace(rows=[one] * count, __len__=lambda: 0) for count in (rows, held_out)]
        data = SimpleNamespace(
            train=sets[0], evaluation=Rows([one] * held_out) if held_out else None, summary={"scenes": scenes}
        )
        plan = BatchPlan(config.rows_per_step, min(packed, config.rows_per_step), 1, rows, 42)
        return advice(config, arguments, data, plan, total_steps(arguments, plan))

    return make


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)


def test_a_usual_run_has_none(notes):
    assert notes() == []
    assert notes(finetuning_type="full", learning_rate=5e-6) == []
    assert notes(packed=8, held_out=50, val_size=50, eval_strategy="steps", eval_steps=20) == []
    assert notes(image_resolution=512, text="<OBJ012>?", max_samples=100000) == []
    assert notes(optim="sgd", learning_rate=1e-6) == [], "other optimizers have other rates"
    for optimizer in ("use_muon", "use_galore", "use_apollo"):
        assert notes(finetuning_type="full", learning_rate=2e-4, **{optimizer: True}) == [], optimizer


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"learning_rate": 5e-6}, "learning_rate 5e-06 is usual for finetuning_type: full.*1e-4 to 2e-4"),
        ({"finetuning_type": "full"}, "learning_rate 0.0001 is usual for LoRA.*5e-6 to 2e-5"),
        ({"save_steps": 500}, "save_steps 500 lies past the end, after 63 steps: there is no checkpoint before"),
        ({"logging_steps": 100}, "logging_steps 100 lies past the end, after 63 steps"),
        (
            {"eval_strategy": "steps", "eval_steps": 80, "val_size": 10, "held_out": 10},
            "eval_steps 80 lies past the end",
        ),
        ({"packed": 16}, "the 16 questions of a step are all of one room.*lower scene_packing .16 now"),
        ({"rows": 50, "num_train_epochs": 60}, "num_train_epochs 60 is more than the 50 rows"),
        ({"rows": 12, "gradient_accumulation_steps": 4}, "12 training rows are few"),
        ({"rows": 30, "gradient_accumulation_steps": 32}, "a step takes all 30 rows, though 32 were asked for"),
        ({"gradient_accumulation_steps": 1}, "a step learns from one question.*raise gradient_accumulation_steps"),
        ({"warmup_ratio": 0, "warmup_steps": 63}, "warmup_steps 63 is no less than the 63 steps of the run"),
        (
            {"held_out": 500, "val_size": 500, "eval_strategy": "steps", "eval_steps": 1},
            "63 evaluations of 500 rows take longer than training on 1008; raise eval_steps",
        ),
        ({"max_samples": 1000}, "max_samples 1000 leaves out what follows in a.*leave it out"),
        ({"image_resolution": 224, "text": "<OBJ012>?"}, "image_resolution leaves images at most 224 pixels wide"),
        ({"image_max_pixels": 30000, "text": "<OBJ012>?"}, "image_max_pixels leaves images at most 200 pixels wide"),
        (
            {"finetuning_type": "full", "learning_rate": 1e-5, "save_steps": 2},
            "31 checkpoints will be kept.*save_total_limit: 3",
        ),
    ],
)
def test_each_mistake_is_said_once(notes, keys, said):
    (found,) = [note for note in notes(**keys) if re.search(said, note)]
    others = [note for note in notes(**keys) if note != found]
    assert others == [], "and nothing else"


def test_one_room_is_no_mistake_where_there_is_one(notes):
    assert notes(packed=16, scenes=1) == []


def test_an_evaluation_alone_is_told_of_images_only(notes):
    keys = {"do_eval": True, "do_train": False, "val_size": 10, "held_out": 10, "learning_rate": 5e-6}
    assert notes(**keys) == []
    (found,) = notes(**keys, image_resolution=112, text="<OBJ012>?")
    assert found.startswith("image_resolution")
