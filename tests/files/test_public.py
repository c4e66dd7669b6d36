"""download.py and the public folder layout, against a real server of the hub's protocol."""

import importlib.util
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hub_server import small_hub

from gpt4scene import cli
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files import public
from gpt4scene.files.hub import Hub, Patience
from gpt4scene.files.public import ITEMS, check_room, fetch, plan, table

ROOT = Path(__file__).resolve().parents[2]
PICTURE = random.Random(0).randbytes(2000)
BIG = random.Random(1).randbytes(3 * 2**20)


def zipped(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def published(around=""):
    """What the four repositories hold, small; ``around`` is the folder inside the archives."""
    archives = {
        f"{top}.zip": zipped({f"{around}{top}/s/1.jpg": PICTURE, "__MACOSX/x": b""})
        for top in ("images_2D", "images_3D")
    }
    files = {
        "data": {"rows.json": b"[]", "README.md": b"theirs", **archives},
        "annotation": {"val.json": b"[1]", "README.md": b"theirs", "dataset_info.json": b"theirs"},
        "base": {"config.json": b"{}", "model.safetensors": BIG},
        "weights": {"config.json": b"{}", "README.md": b"theirs"},
    }
    return {f"{ITEMS[name].kind}s/{ITEMS[name].repo}": held for name, held in files.items()}


@pytest.fixture
def server():
    with small_hub(repos=published()) as running:
        yield running


def get(server, name, root, **settings):
    hub = Hub(server.endpoint, {}, Patience(3, 0.01, 1.0))
    return fetch(plan(name, root, hub, **settings), hub)


def fetched_from(server):
    return [path.rpartition("/")[2] for _, path, _, _ in server.asked if "/resolve/" in path]


@pytest.mark.parametrize("around", ["", "annotation/", "./data/annotation/"])
def test_data_lands_in_the_public_layout_once(tmp_path, around):
    with small_hub(repos=published(around)) as server:
        assert get(server, "data", tmp_path) == tmp_path / "data"
        for top in ("images_2D", "images_3D"):
            assert (tmp_path / "data/annotation" / top / "s/1.jpg").read_bytes() == PICTURE
        assert not list((tmp_path / "data").rglob("*.zip")) and not list(tmp_path.rglob("*MACOSX*"))
        assert sorted(fetched_from(server)) == ["images_2D.zip", "images_3D.zip", "rows.json"]
        server.asked.clear()
        (tmp_path / "data/annotation/images_2D/s/1.jpg").unlink()
        get(server, "data", tmp_path)
        assert fetched_from(server) == [], "nothing comes twice, nor is an unpacked archive fetched again"
        server.repos["datasets/" + ITEMS["data"].repo]["images_2D.zip"] = zipped({"images_2D/s/1.jpg": b"new"})
        get(server, "data", tmp_path)
        assert fetched_from(server) == ["images_2D.zip"]
        assert (tmp_path / "data/annotation/images_2D/s/1.jpg").read_bytes() == b"new"


def test_an_unpacking_that_was_killed_is_done_again(server, tmp_path):
    """The archive is here and half of it unpacked: it is unpacked without being fetched."""
    get(server, "data", tmp_path)
    marker = tmp_path / "data/annotation/.images_2D.zip.unpacked"
    assert json.loads(marker.read_text())["files"] == 1
    marker.unlink()
    (tmp_path / "data/images_2D.zip").write_bytes(published()["datasets/" + ITEMS["data"].repo]["images_2D.zip"])
    (tmp_path / "data/annotation/images_2D/s/1.jpg").write_bytes(PICTURE[:-1] + b"?")
    server.asked.clear()
    get(server, "data", tmp_path)
    assert fetched_from(server) == [] and marker.is_file()
    assert (tmp_path / "data/annotation/images_2D/s/1.jpg").read_bytes() == PICTURE


def test_archives_without_a_top_folder_and_bad_ones(server, tmp_path):
    held = server.repos["datasets/" + ITEMS["data"].repo]
    held["images_2D.zip"] = zipped({"scene0000_00/1.jpg": b"x"})
    held["images_3D.zip"] = zipped({"images_3D/../../../outside.jpg": b"x"})
    with pytest.raises(DataError, match="images_3D.zip: 'images_3D/../../../outside.jpg' would land outside"):
        get(server, "data", tmp_path)
    assert (tmp_path / "data/annotation/images_2D/scene0000_00/1.jpg").is_file()
    assert not list(tmp_path.rglob("outside.jpg"))


def test_base_model_has_both_public_names(server, tmp_path):
    for _ in range(2):
        get(server, "base", tmp_path)
        assert (tmp_path / "ckpts/models--Qwen--Qwen2-VL-7B-Instruct/config.json").is_file()


def test_our_own_files_stay_and_the_users_too(server, tmp_path, capsys):
    ours = tmp_path / "evaluate/annotation/README.md"
    ours.parent.mkdir(parents=True)
    ours.write_text("ours")
    get(server, "annotation", tmp_path)
    assert ours.read_text() == "ours" and not (ours.parent / "dataset_info.json").exists()
    get(server, "weights", tmp_path)
    assert (tmp_path / ITEMS["weights"].folder / "README.md").read_text() == "theirs"
    changed = ours.with_name("val.json")
    changed.write_text("[2]!")
    get(server, "annotation", tmp_path)
    assert changed.read_text() == "[2]!"
    assert f"{changed} was changed since it came, and is kept; remove it to fetch it again" in capsys.readouterr().err
    changed.unlink()
    get(server, "annotation", tmp_path)
    assert changed.read_text() == "[1]"
    server.repos["datasets/" + ITEMS["annotation"].repo]["val.json"] = b"[3]"
    get(server, "annotation", tmp_path)
    assert changed.read_text() == "[3]", "a new version comes in place of the old"


def test_part_of_a_repository(server, tmp_path):
    get(server, "base", tmp_path, include=("*.json",))
    assert fetched_from(server) == ["config.json"]
    with pytest.raises(
        ConfigError, match=r"--include: no file of Qwen/Qwen2-VL-7B-Instruct is called '\*.bin'; see http"
    ):
        get(server, "base", tmp_path, include=("*.bin",))
    with pytest.raises(DataError, match="has no revision 'v9'"):
        get(server, "base", tmp_path, revision="v9")


def test_the_hubs_cache_is_used(server, tmp_path, monkeypatch):
    """A file that another program has fetched to the cache is copied from there, where its digest is right."""
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repo = ITEMS["base"].repo
    cached = hf_hub_download(
        repo, "model.safetensors", endpoint=server.endpoint, cache_dir=tmp_path / "cache", token=False
    )
    server.asked.clear()
    get(server, "base", tmp_path)
    assert fetched_from(server) == ["config.json"]
    assert (tmp_path / ITEMS["base"].folder / "model.safetensors").read_bytes() == Path(cached).read_bytes() == BIG


def test_sizes_and_room_come_first(server, tmp_path, monkeypatch):
    hub = Hub(server.endpoint, {})
    get(server, "annotation", tmp_path)
    plans = [plan(name, tmp_path, hub) for name in ("data", "annotation", "base")]
    lines = table(plans).splitlines()
    assert lines[0].split() == ["files", "size", "to", "fetch", "into"]
    assert lines[1].split()[:6] == ["data", "3", "4.4", "KiB", "4.4", "KiB"]
    assert lines[2].split()[:5] == ["annotation", "1", "3", "bytes", "nothing"]
    assert lines[3].split()[:6] == ["base", "2", "3.0", "MiB", "3.0", "MiB"]
    assert lines[4].startswith(f"{tmp_path}: 3.0 MiB needed at most, ")
    check_room(plans)
    monkeypatch.setattr(public, "free_bytes", lambda _: 2**30)
    with pytest.raises(DataError, match=r"3.0 MiB are needed there at most, 1.0 GiB are free, .*--what, .* --root"):
        check_room(plans)
    assert not (tmp_path / "data").exists()


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("download_script", ROOT / "download.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_fetches_what_is_asked(script, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "hub_here", lambda: Hub(server.endpoint, {}))
    assert script.main(script.DownloadArguments(("annotation",), str(tmp_path), dry_run=True)) == 0
    assert "annotation" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert script.main(script.DownloadArguments(root=str(tmp_path))) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [str(tmp_path / item.folder) for item in ITEMS.values()]
    assert "to fetch" in shown.err and "unpacking" in shown.err


def test_script_refuses_what_it_does_not_know(script, capsys):
    def said(*words):
        assert cli.call(script.DownloadArguments, script.main, "download.py", "", list(words)) == 2
        return capsys.readouterr().err

    assert "did you mean 'weights'?" in said("--what", "wieghts")
    assert "--revision belongs to one repository" in said("--revision", "v1")
    assert "--jobs" in said("--jobs", "0")


def command(server, root, *words):
    environment = {**os.environ, "HF_ENDPOINT": server.endpoint, "HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "0"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "download.py"), "--root", str(root), *words],
        env=environment | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("end", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_the_command_goes_on_after_its_end(server, tmp_path, end, status):
    """The real command is ended when half of the weights have come; the next asks for the other half only."""
    from gpt4scene.files.hub_transfer import came_so_far

    digest = public.read_listing(Hub(server.endpoint, {}), ITEMS["base"].repo, "model", "main").files[1]
    server.troubles = {digest.digest: ["wait"]}
    server.asked.clear()
    running = command(server, tmp_path, "--what", "base")
    deadline = time.monotonic() + 60
    while came_so_far(tmp_path / ITEMS["base"].folder, digest) < len(BIG) // 2:
        assert time.monotonic() < deadline and running.poll() is None, running.communicate()
        time.sleep(0.02)
    running.send_signal(end)
    _, said = running.communicate(timeout=30)
    assert running.returncode == status, said
    assert end == signal.SIGKILL or "what came is kept, the same command goes on where it was" in said
    server.go_on.set()
    again = command(server, tmp_path, "--what", "base")
    out, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert out.strip() == str(tmp_path / ITEMS["base"].folder)
    assert [span for _, span in server.requests(digest.digest)] == [None, f"bytes={len(BIG) // 2}-"]
    assert (tmp_path / ITEMS["base"].folder / "model.safetensors").read_bytes() == BIG
