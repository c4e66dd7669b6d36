import pytest

from gpt4scene.inference.arguments import InferArguments, to_flags
from gpt4scene.settings import flags as reading
from gpt4scene.settings.public_call import infer_flags


def parse(words, annotation_dir=None):
    defaults = {} if annotation_dir is None else {"annotation_dir": annotation_dir}
    return reading.read(InferArguments, infer_flags(words), "gpt4scene infer", defaults)


NEEDED = ["--model", "m", "--annotation_dir", "a", "--output_dir", "o"]


def test_flags_are_read_and_written_back():
    arguments = parse([*NEEDED, "--tasks=scanqa,sqa3d", "--temperature", "5e-1", "--overwrite", "--dtype", "float32"])
    assert arguments.tasks == "scanqa,sqa3d" and arguments.temperature == 0.5 and arguments.overwrite is True
    assert parse(to_flags(arguments)) == arguments
    assert parse([*NEEDED, "--overwrite", "false"]) == InferArguments("m", "a", "o")
    assert parse(["--model", "m", "--output_dir", "o"], "default").annotation_dir == "default"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--modle", "x"], "did you mean '--model'"),
        (["--image_resolution", "ten"], "into int"),
        (["--max_new_tokens", "0"], "1 or more"),
        (["--tasks", "scanq"], "did you mean 'scanqa'"),
        (["--dtype", "fp8"], "Choose from"),
        (["--engine", "server"], "needs --base_url"),
        (["--num_shards", "2", "--shard", "2"], "below --num_shards 2"),
        (["--num_processes", "none"], "auto or 1 and more"),
    ],
)
def test_wrong_calls_are_named(flags, words):
    with pytest.raises(ValueError, match=words):
        parse([*NEEDED, *flags])


def test_missing_flags_are_named():
    with pytest.raises(ValueError, match="--model, --annotation_dir, --output_dir"):
        parse([])


PUBLIC = [
    *("./evaluate/configs/eval_configs.py", "evaluate", "True", "model", "qwenvl", "batch_size", "4"),
    *("num_workers", "16", "model_path", "./model_outputs/run"),
    *("scene_anno", "./evaluate/annotation/selected_images_mark_3D_val_32.json", "save_interval", "2"),
    *("val_tag", "scan2cap", "output_dir", "eval_outputs/outputs_3D_mark/run/", "num_chunks", "8", "chunk_idx", "3"),
    *("calculate_score_tag", "scanqa#sqa3d#scan2cap#scanrefer#multi3dref"),
]


def test_the_public_call():
    assert parse(PUBLIC) == InferArguments(
        model="./model_outputs/run",
        annotation_dir="./evaluate/annotation",
        output_dir="eval_outputs/outputs_3D_mark/run/",
        tasks="scan2cap",
        images="./evaluate/annotation/selected_images_mark_3D_val_32.json",
        num_shards=8,
        shard=3,
        num_processes="1",
        public_name="qwenvl",
    )
    assert parse([*PUBLIC, "anno_root", "elsewhere"]).annotation_dir == "elsewhere"


def test_wrong_public_calls_are_named():
    with pytest.raises(ValueError, match="did you mean 'model_path'"):
        infer_flags(["c.py", "model_pth", "x"])
    with pytest.raises(ValueError, match="'val_tag' has no value"):
        infer_flags(["c.py", "val_tag"])
    with pytest.raises(ValueError, match="'scanqa' is not a flag"):
        infer_flags(["scanqa"])
