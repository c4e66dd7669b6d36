"""download.py and the public folder layout, against a stand-in for the model hub."""

import fnmatch
import importlib.util
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from gpt4scene import cli
from gpt4scene.errors import DataError
from gpt4scene.files import public as public_files
from gpt4scene.files.public import ITEMS, fetch, unpack

ROOT = Path(__file__).resolve().parents[2]


def write_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class Hub:
    """Writes the files of a repository as the hub's client would; ``around`` is the folder inside the archives."""

    def __init__(self, around="", trouble=None):
        self.around, self.trouble, self.asked = around, trouble, []

    def repo_info(self, repo_id, *, repo_type):
        if self.trouble:
            raise self.trouble
        return SimpleNamespace(sha="abc")

    def snapshot_download(self, repo_id, *, repo_type, revision, local_dir, ignore_patterns):
        assert revision == "abc"
        self.asked.append((repo_id, repo_type))
        folder = Path(local_dir)
        files = {"config.json": b"{}", "README.md": b"theirs"}
        if repo_id == ITEMS["data"].repo:
            for top in ("images_2D", "images_3D"):
                write_zip(folder.parent / "made.zip", {f"{self.around}{top}/s/1.jpg": b"an image", "__MACOSX/x": b""})
                files[f"{top}.zip"] = (folder.parent / "made.zip").read_bytes()
        for name, content in files.items():
            if not any(fnmatch.fnmatch(name, pattern) for pattern in ignore_patterns):
                (folder / name).write_bytes(content)
        return local_dir


@pytest.mark.parametrize("around", ["", "annotation/", "./data/annotation/"])
def test_data_lands_in_the_public_layout_once(tmp_path, around):
    hub = Hub(around)
    assert fetch("data", tmp_path, hub) == tmp_path / "data"
    for top in ("images_2D", "images_3D"):
        assert (tmp_path / "data/annotation" / top / "s/1.jpg").read_bytes() == b"an image"
    assert not list((tmp_path / "data").rglob("*.zip")) and not list(tmp_path.rglob("*MACOSX*"))
    (tmp_path / "data/annotation/images_2D/s/1.jpg").unlink()
    fetch("data", tmp_path, hub)
    assert not list((tmp_path / "data").rglob("*.zip"))
    assert not list(tmp_path.rglob("images_2D/s/1.jpg")), "an unpacked archive is not fetched again"
    assert hub.asked == [("alexzyqi/GPT4Scene-All", "dataset")] * 2


def test_archive_without_a_top_folder(tmp_path):
    write_zip(tmp_path / "images_2D.zip", {"scene0000_00/1.jpg": b"x"})
    assert unpack(tmp_path / "images_2D.zip", tmp_path / "out") == 1
    assert (tmp_path / "out/images_2D/scene0000_00/1.jpg").is_file()


def test_unpacking_goes_on_where_it_stopped(tmp_path):
    write_zip(tmp_path / "images_2D.zip", {"images_2D/a.jpg": b"first", "images_2D/b.jpg": b"second"})
    out = tmp_path / "out/images_2D"
    out.mkdir(parents=True)
    (out / "a.jpg").write_bytes(b"kept!")
    (out / "b.jpg").write_bytes(b"sec")
    assert unpack(tmp_path / "images_2D.zip", tmp_path / "out") == 2
    assert (out / "a.jpg").read_bytes() == b"kept!"
    assert (out / "b.jpg").read_bytes() == b"second"
    assert not list(out.glob("*.part"))


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "/etc/outside.jpg", "images_2D/../../outside.jpg", "C:/outside.jpg"]
)
def test_archives_cannot_write_elsewhere(tmp_path, name):
    write_zip(tmp_path / "images_2D.zip", {"images_2D/a.jpg": b"x", name: b"bad"})
    with pytest.raises(DataError, match="outside its folder"):
        unpack(tmp_path / "images_2D.zip", tmp_path / "out")
    assert not list(tmp_path.rglob("*.jpg"))


def test_archives_cannot_hold_links(tmp_path):
    info = zipfile.ZipInfo("images_2D/link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "images_2D.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="outside its folder"):
        unpack(tmp_path / "images_2D.zip", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half an archive"])
def test_broken_archive(tmp_path, content):
    (tmp_path / "images_2D.zip").write_bytes(content)
    with pytest.raises(DataError, match="download again"):
        unpack(tmp_path / "images_2D.zip", tmp_path / "out")


def test_too_little_room(tmp_path, monkeypatch):
    write_zip(tmp_path / "images_2D.zip", {"images_2D/a.jpg": b"x" * 10})
    monkeypatch.setattr(public_files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(DataError, match="are free"):
        unpack(tmp_path / "images_2D.zip", tmp_path / "out")


def test_base_model_has_both_public_names(tmp_path):
    fetch("base", tmp_path, Hub())
    fetch("base", tmp_path, Hub())
    assert (tmp_path / "ckpts/models--Qwen--Qwen2-VL-7B-Instruct/config.json").is_file()


def refusal():
    return SimpleNamespace(headers={}, request=SimpleNamespace(headers={}), status_code=401)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RepositoryNotFoundError("no", response=refusal()), "log in with"),
        (LocalEntryNotFoundError("cannot reach"), "again to go on"),
        (HTTPError("no route"), "no route.*again to go on"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_hub_trouble_is_one_sentence(tmp_path, error, words):
    with pytest.raises(DataError, match=words):
        fetch("weights", tmp_path, Hub(trouble=error))


def test_our_own_files_stay(tmp_path):
    ours = tmp_path / "evaluate/annotation/README.md"
    ours.parent.mkdir(parents=True)
    ours.write_text("ours")
    fetch("annotation", tmp_path, Hub())
    assert ours.read_text() == "ours"
    fetch("weights", tmp_path, Hub())
    assert (tmp_path / ITEMS["weights"].folder / "README.md").is_file()


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("download_script", ROOT / "download.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_fetches_what_is_asked(script, tmp_path, monkeypatch, capsys):
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    assert script.main(script.DownloadArguments(("annotation",), str(tmp_path))) == 0
    assert hub.asked == [("alexzyqi/GPT4Scene-Val-Annotation", "dataset")]
    assert script.main(script.DownloadArguments(root=str(tmp_path))) == 0
    assert [repo for repo, _ in hub.asked[1:]] == [item.repo for item in ITEMS.values()]
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "evaluate/annotation")


def test_script_refuses_unknown_parts(script, capsys):
    assert cli.call(script.DownloadArguments, script.main, "download.py", "", ["--what", "wieghts"]) == 2
    assert "did you mean 'weights'?" in capsys.readouterr().err
