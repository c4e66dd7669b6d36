import dataclasses

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.inference.arguments import USED_BY, InferArguments, to_flags
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
    assert parse([*NEEDED, "--overwrite", "false"]) == InferArguments(model="m", annotation_dir="a", output_dir="o")
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


SERVER = ["--engine=server", "--base_url=http://localhost:1/v1"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--repetition_penalty", "0"], "repetition_penalty must be above 0"),
        (["--repetition_penalty", "-1"], "repetition_penalty must be above 0"),
        (["--repetition_penalty", "nan"], "repetition_penalty must be a finite number"),
        (["--repetition_penalty", "inf"], "repetition_penalty must be a finite number"),
        (["--temperature", "-0.1"], "temperature must be 0 or more"),
        (["--temperature", "nan"], "temperature must be a finite number"),
        (["--temperature", "inf"], "temperature must be a finite number"),
        (["--top_p", "0"], "top_p must be between"),
        (["--top_p", "2"], "top_p must be between"),
        (["--top_p", "nan"], "top_p must be a finite number"),
        (["--branch_limit", "0"], "branch_limit must be 1 or more"),
        (["--max_new_tokens", "-5"], "max_new_tokens must be 1 or more"),
        (["--image_resolution", "0"], "image_resolution must be 28 or more"),
        (["--num_shards", "2", "--shard", "5"], "shard must be below --num_shards 2"),
        (["--num_shards", "0"], "num_shards must be between 1 and 100000"),
        (["--num_shards", "99999999999"], "num_shards must be between 1 and 100000"),
        (["--max_new_tokens", "1.5"], "max_new_tokens must be a whole number, not 1.5"),
        (["--seed=-0.5"], "seed must be a whole number, not -0.5"),
        (["--limit", "0.5"], "limit must be a whole number, not 0.5"),
        (["--shard", "-1"], "shard must be 0 or more"),
        (["--num_processes", "0"], "num_processes must be auto or 1 and more"),
        (["--num_processes", "²"], "num_processes must be auto or 1 and more"),
        (["--limit", "0"], "limit must be 1 or more"),
        (["--tasks", ""], "tasks names none"),
        (["--tasks", " , "], "tasks names none"),
        (["--scenes", ""], "scenes names none"),
        (["--scenes", ","], "scenes names none"),
        ([*SERVER, "--timeout", "0"], "timeout must be"),
        ([*SERVER, "--timeout", "nan"], "timeout must be a finite number"),
        ([*SERVER, "--retries", "-1"], "retries must be 0 or more"),
        (["--engine=server", "--base_url=localhost:8000/v1"], "base_url must be an address"),
        (["--engine=server", "--base_url=http://"], "base_url must be an address"),
        (["--engine=server", "--base_url=ftp://here/v1"], "base_url must be an address"),
        (["--engine=server", "--base_url="], "needs --base_url"),
    ],
)
def test_values_out_of_range_are_one_sentence(flags, words):
    with pytest.raises(ConfigError, match=words) as raised:
        parse([*NEEDED, *flags])
    assert len(raised.value.problems) == 1


ADDRESSES = (
    *("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000", "https://api.host.org/v1/", "http://[::1]:8000/v1"),
    *(
        "http://localhost/v1",
        "HTTP://localhost:8000/v1",
        "http://node_07:8000/v1",
        "http://gpu.:80/v1",
        "http://ü.org/v1",
    ),
    *("http://user:word@host:8000/proxy/v1", "http://host/openai/deployments/x"),
)
NO_ADDRESSES = (
    *("http:/host/v1", "host:8000/v1", "//host/v1", "http://::1:8000/v1", "http://[::1/v1", "http://300.1.1.1:8000/v1"),
    *("http://1.2.3:80/v1", "http://host:99999/v1", "http://host:0/v1", "http://host:a/v1", "http://host:-1/v1"),
    *(" http://host/v1", "http://host/v1 ", "http://ho st/v1", "http://host\n/v1", "http://a..b/v1", "http://./v1"),
    *(f"http://{'a' * 80}.org/v1", "http://host:８０/v1", "http://[::g]/v1"),
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses(address):
    assert parse([*NEEDED, "--engine=server", f"--base_url={address}"]).base_url == address


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_is_one_sentence(address):
    with pytest.raises(ConfigError, match="base_url must be an address") as raised:
        parse([*NEEDED, "--engine=server", f"--base_url={address}"])
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("/v1?api-version=1", "must end before"),
        ("/v1#x", "must end before"),
        ("/v1/chat/completions", "added: http://host/v1$"),
        ("/v1/chat/completions/", "added: http://host/v1$"),
    ],
)
def test_an_address_that_holds_more_than_its_beginning_is_refused(ending, words):
    with pytest.raises(ConfigError, match=words):
        parse([*NEEDED, "--engine=server", f"--base_url=http://host{ending}"])


def test_all_mistakes_are_said_together():
    with pytest.raises(ConfigError) as raised:
        parse([*NEEDED, "--repetition_penalty=0", "--temperature=nan", "--limit=0", "--base_url=x"])
    assert len(raised.value.problems) == 5, raised.value.problems


BOTH = {
    *("model", "annotation_dir", "output_dir", "tasks", "split", "images", "media_dir", "image_resolution"),
    *("max_new_tokens", "temperature", "top_p", "seed", "repetition_penalty", "branch_limit", "engine", "num_shards"),
    *("shard", "limit", "scenes", "keep_empty", "overwrite", "public_name", "image_max_pixels", "image_min_pixels"),
}
OTHER_VALUES = {
    "template": "qwen3_vl",
    "enable_thinking": False,
    "video_fps": 1.0,
    "video_maxlen": 8,
    "video_max_pixels": 100_000,
    "video_min_pixels": 1_000,
    "dtype": "float16",
    "flash_attn": "sdpa",
    "feature_cache": "off",
    "prefix_memory": 0.5,
    "crop_to_patches": True,
    "device": "cpu",
    "num_processes": "2",
    "base_url": "http://localhost:2/v1",
    "timeout": 5.0,
    "retries": 1,
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(InferArguments)])
def test_every_flag_is_used_by_the_engine_or_refused(field):
    """A new field must be put into one of the groups here and, where one engine has no use for it, into ``USED_BY``."""
    assert (field in BOTH) != (field in OTHER_VALUES) and (field in USED_BY) == (field in OTHER_VALUES)
    if field in BOTH:
        return
    for engine in ("local", "server"):
        flags = [*NEEDED, f"--engine={engine}", f"--{field}={OTHER_VALUES[field]}"]
        flags += ["--base_url=http://localhost:1/v1"] if engine == "server" and field != "base_url" else []
        if engine in USED_BY[field]:
            assert getattr(parse(flags), field) == OTHER_VALUES[field]
        else:
            with pytest.raises(ConfigError, match=f"--{field} .* has no effect with --engine {engine}"):
                parse(flags)


def test_flags_that_change_nothing_are_noted():
    assert parse([*NEEDED, "--seed=3", "--top_p=0.5"]).notes() == [
        "--top_p and --seed change nothing at --temperature 0, which takes the likeliest token"
    ]
    assert not parse([*NEEDED, "--seed=3", "--top_p=0.5", "--temperature=1"]).notes() and not parse(NEEDED).notes()
