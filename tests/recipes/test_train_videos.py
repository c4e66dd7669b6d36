"""Rows about videos through the real command: shared prefixes, kept features, tokenized rows, broken files."""

import json
import re
import shlex
import shutil

import pytest
from PIL import Image
from videos import write_frames, write_video

from gpt4scene.cli import main
from gpt4scene.errors import DataError
from gpt4scene.files.journal import ordered_rows

QUESTIONS = (("<video>What is it?", "A room."), ("<video>What is there?", "Two lamps."), ("<video>Who?", "No."))


@pytest.fixture(scope="module")
def videos(workshop, tmp_path_factory):
    """A folder of rows in the shape of LLaMA-Factory's ``mllm_video_demo``: two files and a folder of frames."""
    folder = tmp_path_factory.mktemp("videos")
    shown = folder / "mllm_demo_data"
    shown.mkdir()
    write_video(shown / "1.mp4", frames=30, rate=10)
    write_video(shown / "2.mkv", frames=12, rate=6, start=9)
    frames = [f"mllm_demo_data/3/{number}.png" for number in range(len(write_frames(shown / "3", 4)))]
    rows = [
        {
            "messages": [{"content": asked, "role": "user"}, {"content": answer, "role": "assistant"}],
            "videos": [video],
        }
        for video in ("mllm_demo_data/1.mp4", "mllm_demo_data/2.mkv", frames)
        for asked, answer in QUESTIONS
    ]
    (folder / "mllm_video_demo.json").write_text(json.dumps(rows[:-1]))
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "videos": "videos"}
    entry = {"file_name": "mllm_video_demo.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"mllm_video_demo": entry}))
    return folder


@pytest.mark.slow
def test_rows_about_videos_train_the_same_however_they_are_packed_read_and_kept(train, videos, tmp_path):
    keys = {"dataset_dir": videos, "dataset": "mllm_video_demo", "video_maxlen": 6, "finetuning_type": "lora"}
    keys |= {"lora_target": "q_proj,v_proj", "learning_rate": 1e-2}
    plain = train(tmp_path / "plain", **keys, feature_cache="off", scene_packing=1)
    assert len(plain) == 3 and plain[-1] < plain[0]
    packed = train(tmp_path / "packed", **keys, feature_cache="off", scene_packing=4, dataloader_num_workers=1)
    assert packed == pytest.approx(plain, rel=1e-5)
    apart = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    assert train(tmp_path / "apart", **keys, **apart) == pytest.approx(plain, rel=1e-5)
    kept = train(tmp_path / "kept", **keys, scene_packing=4, tokenized_path=tmp_path / "tokens")
    assert kept == pytest.approx(plain, rel=1e-5)
    assert train(tmp_path / "again", **keys, scene_packing=4, tokenized_path=tmp_path / "tokens") == kept
    with pytest.raises(DataError, match="made with other settings: video processor"):
        train(tmp_path / "other", **keys | {"video_maxlen": 4}, tokenized_path=tmp_path / "tokens")


@pytest.mark.slow
def test_rows_entry_and_command_of_the_page_train_as_written(workshop, root, tmp_path, monkeypatch, losses_of):
    page = (root / "docs" / "video.md").read_text()
    rows, entry = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    write_video(tmp_path / "walk.mp4")
    write_frames(tmp_path / "rooms", 3)
    (tmp_path / "walk.mp4").rename(tmp_path / "rooms" / "walk.mp4")
    shutil.copyfile(tmp_path / "rooms" / "0.png", tmp_path / "rooms" / "map.png")
    for number in range(3):
        Image.open(tmp_path / "rooms" / f"{number}.png").save(tmp_path / "rooms" / f"{number}.jpg")
    (tmp_path / "walks.json").write_text(json.dumps(rows))
    (tmp_path / "dataset_info.json").write_text(json.dumps(entry))
    words = shlex.split(next(line for line in page.splitlines() if line.startswith("gpt4scene train ")))[1:]
    words = [str(tmp_path) if word == "DATA" else word for word in words]
    small = {"model_name_or_path": workshop / "model", "output_dir": tmp_path / "run", "val_size": 0, "bf16": False}
    small |= {"eval_strategy": "no", "max_steps": 1, "logging_steps": 1, "video_max_pixels": 4096}
    monkeypatch.chdir(root)
    assert main([*words, *(word for key, value in small.items() for word in (f"--{key}", str(value)))]) == 0
    assert len(losses_of(tmp_path / "run")) == 1


@pytest.mark.slow
def test_two_processes_and_a_resumed_run_learn_the_same_of_videos(on_two, train, losses_of, videos, tmp_path):
    """Also where the tower learns, rows are tokenized before, and a run goes on from its middle."""
    keys = {"dataset_dir": videos, "dataset": "mllm_video_demo", "video_maxlen": 6, "learning_rate": 1e-3}
    tower = keys | {"freeze_vision_tower": False, "freeze_multi_modal_projector": False, "scene_packing": 2}
    alone, learned = train(tmp_path / "alone", **keys), train(tmp_path / "learned", **tower)
    packed = keys | {"scene_packing": 4, "save_strategy": "steps", "save_steps": 1}
    tokens = {"tokenized_path": tmp_path / "tokens"}
    found = on_two(
        {
            "packs": packed,
            "resumed": packed | {"resume_from_checkpoint": tmp_path / "packs" / "checkpoint-1"},
            "tokenized": keys | tokens | {"scene_packing": 1},
            "tower": tower,
        }
    )
    losses = {name: losses_of(folder) for name, folder in found.items()}
    for name in ("packs", "tokenized"):
        assert losses[name] == pytest.approx(alone, rel=1e-5), name
    assert len(losses["resumed"]) == 2 and losses["resumed"] == losses["packs"][1:]
    assert losses["tower"] == pytest.approx(learned, rel=1e-5) and learned[-1] < learned[0]


@pytest.mark.slow
def test_a_broken_video_ends_with_its_row_or_is_left_out(train, videos, tmp_path):
    folder = shutil.copytree(videos, tmp_path / "data")
    (folder / "mllm_demo_data" / "2.mkv").write_bytes(b"no video")
    keys = {"dataset_dir": folder, "dataset": "mllm_video_demo", "video_maxlen": 6}
    with pytest.raises(
        DataError, match=r"video .*2.mkv \(needed by .*mllm_video_demo.json, row 3 .*can't be read as a"
    ):
        train(tmp_path / "stopped", **keys)
    train(tmp_path / "run", **keys, skip_bad_rows=True)
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["data"]["skipped"]) == 3
    with pytest.raises(DataError, match="cutoff_len is 40; raise cutoff_len, lower video_max_pixels, video_fps or"):
        train(tmp_path / "long", **keys | {"dataset_dir": videos}, cutoff_len=40)


@pytest.mark.slow
def test_questions_about_videos_are_answered_by_the_command(workshop, videos, tmp_path, capsys):
    rows = [
        {"scene_id": scene, "prompt": asked, "ref_captions": ["A room."], "videos": [video]}
        for scene, video in (("one", "mllm_demo_data/1.mp4"), ("three", "mllm_demo_data/3"))
        for asked in ("What is it?", "<video>Who is there?")
    ]
    (videos / "scanqa_val.json").write_text(json.dumps(rows))
    words = ["infer", "--model", workshop / "model", "--annotation_dir", videos, "--output_dir", tmp_path / "out"]
    words = [*map(str, words), "--max_new_tokens", "4"]
    assert main([*words, "--video_maxlen", "6"]) == 0
    answers = ordered_rows(tmp_path / "out", "scanqa")
    assert len(answers) == 4
    shared = [str(tmp_path / "shared") if word == str(tmp_path / "out") else word for word in words]
    assert main([*shared, "--video_maxlen", "6", "--num_processes", "2"]) == 0
    assert ordered_rows(tmp_path / "shared", "scanqa") == answers
    assert (
        main(["report", "--predictions", shared[-3], "--annotation_dir", str(videos), "--out", str(tmp_path / "p")])
        == 0
    )
    assert "a frame of the video (0 s)" in (tmp_path / "p" / "scenes" / "one.html").read_text()
    capsys.readouterr()
    assert main([*words, "--video_maxlen", "4"]) == 1
    assert "video_maxlen" in capsys.readouterr().err
    assert main([*words, "--engine", "server", "--base_url", "http://localhost:1/v1"]) == 2
    assert "videos, which are not sent to servers" in capsys.readouterr().err
