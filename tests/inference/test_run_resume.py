"""Which run goes on in an output folder, and which is refused."""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import infer as main
from room_runs import answers

from gpt4scene.files import journal
from gpt4scene.inference import plan
from gpt4scene.inference.arguments import InferArguments
from gpt4scene.settings import flags


@pytest.mark.slow
def test_torn_journal_goes_on_with_another_number_of_shards(infer, tmp_path):
    assert infer()[0] == 0
    for index in range(2):
        assert infer("--num_shards=2", f"--shard={index}", out="torn")[0] == 0
    folder = tmp_path / "torn"
    for path in journal.journal_files(folder, "scanqa"):
        path.write_bytes(path.read_bytes()[:-200])
    (folder / "scanrefer.shard1.jsonl").write_bytes(b'{"settings": {"mod')
    status, _, err = infer("--branch_limit=2", out="torn")
    assert status == 0, err
    for task in ("scanqa", "scanrefer"):
        assert answers(folder, task) == answers(tmp_path / "out", task)


def test_other_settings_are_refused_unless_overwritten(infer, tmp_path, annotation, no_model):
    header = {"settings": {"image_resolution": 512}, "fingerprint": "x"}
    (tmp_path / "out").mkdir()
    old = tmp_path / "out" / "scanqa.shard7.jsonl"
    old.write_text(json.dumps(header) + "\n")
    status, _, err = infer()
    assert status == 1 and "image_resolution: 512, now 112" in err and "--overwrite" in err
    assert infer("--tasks=scanqa", "--num_processes=auto")[0] == 1
    with pytest.raises(pytest.fail.Exception):
        infer("--overwrite")
    assert not old.exists()


@pytest.mark.slow
def test_areas_of_images_are_part_of_the_settings_only_where_they_are_used(infer, tmp_path):
    assert infer("--tasks=scanqa", "--limit=1")[0] == 0
    before = journal.read_journal(tmp_path / "out" / "scanqa.jsonl").settings
    assert "image_max_pixels" not in before and "image_min_pixels" not in before  # as before there were areas
    status, _, err = infer("--tasks=scanqa", "--image_max_pixels=5000")
    assert status == 1 and "image_max_pixels: absent, now 5000" in err
    assert infer("--tasks=scanqa", "--limit=1", "--image_max_pixels=5000", out="area")[0] == 0
    after = journal.read_journal(tmp_path / "area" / "scanqa.jsonl").settings
    assert after == {**before, "image_max_pixels": 5000, "image_min_pixels": after["image_min_pixels"]}
    assert infer("--tasks=scanqa")[0] == 0  # an old journal goes on


def read(words):
    return flags.read(InferArguments, words, "gpt4scene infer")


@pytest.mark.slow
def test_what_answers_depend_on_and_what_not(infer, tmp_path, annotation, tiny_folder, no_model, write_annotation):
    def settings(*more, model=tiny_folder):
        arguments = read(
            [f"--model={model}", f"--annotation_dir={annotation}", "--output_dir=o", "--tasks=scanqa", *more]
        )
        return journal.fingerprint(plan.make_plan(arguments).settings["scanqa"])

    same = settings()
    for more in (["--branch_limit=3"], ["--device=cpu"], ["--num_shards=4", "--shard=1"], ["--seed=5"]):
        assert settings(*more) == same
    changed = [
        settings(f) for f in ("--max_new_tokens=5", "--image_resolution=56", "--temperature=1", "--dtype=bfloat16")
    ]
    areas = ["--image_max_pixels=9000", "--image_max_pixels=9001", "--image_min_pixels=900"]
    changed += [settings(*more) for more in [[area] for area in areas] + [[areas[0], "--image_resolution=56"]]]
    assert settings("--image_max_pixels=9000", "--image_min_pixels=1024") == settings("--image_max_pixels=9000")
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    assert settings(model=copy) == same
    (copy / "generation_config.json").write_text("{}")
    changed.append(settings(model=copy))
    rows = json.loads((annotation / "scanqa_val.json").read_text())
    (annotation / "scanqa_val.json").write_text(json.dumps(rows[:-1]))
    changed.append(settings())
    (annotation / "scanqa_val.json").write_text(json.dumps(rows))
    assert len({same, *changed}) == 1 + len(changed)


def same_size_and_times(image):
    """Another picture of the same size in bytes, with the times of the old one."""
    state = image.stat()
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))


def longer(image):
    image.write_bytes(image.read_bytes() + b" ")


@pytest.mark.slow
@pytest.mark.parametrize("change", [same_size_and_times, longer], ids=lambda change: change.__name__)
def test_answers_to_other_images_do_not_go_on(infer, tmp_path, annotation, no_model, change, monkeypatch):
    monkeypatch.undo()
    assert infer("--limit=2")[0] == 0
    change(annotation / "images" / "scene0002_00_1.png")
    assert infer("--limit=3")[0] == 0, "no answer was given about that scene"
    change(annotation / "images" / "scene0000_00_1.png")
    status, _, err = infer()
    assert status == 1 and "the images of scene 'scene0000_00' are not those" in err and "--overwrite" in err
    assert infer("--overwrite", "--limit=1")[0] == 0


def test_a_copied_folder_goes_on(infer, tmp_path, annotation, tiny_folder):
    assert infer("--limit=2")[0] == 0
    copy = shutil.copytree(annotation, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    flags_ = [f"--model={tiny_folder}", f"--annotation_dir={copy}", f"--output_dir={tmp_path / 'out'}"]
    assert main([*flags_, "--image_resolution=112", "--max_new_tokens=6"]) == 0
    assert len(answers(tmp_path / "out", "scanqa")) == 21


def test_images_changed_while_the_run_goes_on_are_said(infer, tmp_path, annotation, monkeypatch):
    append = journal.Journal.append

    def changing(self, answer):
        append(self, answer)
        longer(annotation / "images" / "scene0002_00_1.png")

    monkeypatch.setattr(journal.Journal, "append", changing)
    status, _, err = infer()
    assert status == 1 and "the images of scene 'scene0002_00' were changed while the run went on" in err
    for task in ("scanqa", "scanrefer"):
        rows = journal.ordered_rows(tmp_path / "out", task)
        assert rows and "scene0002_00" not in {row["scene_id"] for row in rows}, "answers that came ahead are not kept"


def test_journal_of_an_earlier_version_goes_on_where_names_and_sizes_agree(infer, tmp_path, annotation):
    assert infer("--limit=2", "--tasks=scanqa")[0] == 0
    path = tmp_path / "out" / "scanqa.jsonl"
    header, *lines = path.read_text().splitlines()
    settings = json.loads(header)["settings"]
    settings["pictures"] = plan._names_and_sizes(plan.load_questions(annotation, "scanqa"))
    rows = [{k: v for k, v in json.loads(line).items() if k not in ("images", "finish_reason")} for line in lines]
    old = [{"settings": settings, "fingerprint": journal.fingerprint(settings)}, *rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert infer("--limit=4", "--tasks=scanqa")[0] == 0
    longer(annotation / "images" / "scene0001_00_1.png")
    status, _, err = infer("--tasks=scanqa")
    assert status == 1 and "pictures: " in err


def test_settings_that_we_do_not_know_are_refused(infer, tmp_path, no_model, monkeypatch):
    monkeypatch.undo()
    assert infer("--limit=1")[0] == 0
    path = tmp_path / "out" / "scanqa.jsonl"
    header, *lines = path.read_text().splitlines()
    settings = {**json.loads(header)["settings"], "beams": 4}
    path.write_text("\n".join([json.dumps({"settings": settings, "fingerprint": "x"}), *lines, ""]))
    status, _, err = infer()
    assert status == 1 and "beams: 4, now absent" in err


@pytest.mark.parametrize(
    "odd",
    [{"index": "0"}, {"index": True}, {"index": 1.0}, {"index": None}, {"pred": None}, {"pred": ["A"]}, {"pred": 7}],
    ids=str,
)
def test_rows_that_this_program_does_not_write_are_refused(infer, tmp_path, odd):
    assert infer("--limit=2", "--tasks=scanqa")[0] == 0
    path = tmp_path / "out" / "scanqa.jsonl"
    header, first, second = path.read_text().splitlines()
    path.write_text("\n".join([header, first, json.dumps({**json.loads(second), **odd}), ""]))
    status, _, err = infer("--tasks=scanqa")
    assert status == 1 and "scanqa.jsonl, line 3: this is no line of a journal" in err.splitlines()[-1]


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
@pytest.mark.parametrize("put", [Path.mkdir, lambda path: path.symlink_to("absent/x")], ids=["folder", "link"])
def test_what_stands_in_the_place_of_a_journal_is_named(infer, tmp_path, no_model, put, more):
    (tmp_path / "out").mkdir()
    put(tmp_path / "out" / "scanqa.jsonl")
    if more and not (tmp_path / "out" / "scanqa.jsonl").is_dir():
        return  # --overwrite may delete a link
    status, _, err = infer(*more)
    assert status == 1 and "scanqa.jsonl" in err.splitlines()[-1] and "move it away" in err.splitlines()[-1]


def retargeted(image):
    other = image.with_name("other.png")
    other.write_bytes(image.with_name("scene0002_00_1.png").read_bytes())
    image.unlink()
    image.symlink_to(other)


def back_to_front(image):
    path = image.parents[1] / "selected_images_mark_3D_val_32.json"
    path.write_text(json.dumps({scene: names[::-1] for scene, names in json.loads(path.read_text()).items()}))


@pytest.mark.parametrize("change", [retargeted, back_to_front])
def test_other_images_behind_a_link_and_in_another_order_are_refused(infer, annotation, change):
    assert infer("--limit=2")[0] == 0
    change(annotation / "images" / "scene0000_00_0.png")
    status, _, err = infer("--limit=3")
    assert status == 1 and "the images of scene 'scene0000_00' are not those" in err


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "preprocessor_config.json", "config.json"])
def test_a_model_that_was_replaced_in_its_folder_does_not_go_on(infer, tmp_path, tiny_folder, name):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    assert infer("--limit=2", model=copy)[0] == 0
    file = copy / name
    state, content = file.stat(), bytearray(file.read_bytes())
    if name == "model.safetensors":
        content[-40] ^= 1
    else:
        content = content.replace(b"{", b"{ ", 1)
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    status, _, err = infer("--limit=3", model=copy)
    assert status == 1 and "holds answers of another run (model: " in err.splitlines()[-1]
