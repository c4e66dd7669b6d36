"""Plain ``.pt`` files: what torch writes is read without it, and what is written without it torch reads."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from gpt4scene.files import tensors as tensor_file
from gpt4scene.files.tensors import NotReadable, read_tensors, tensor_bytes

torch = pytest.importorskip("torch")

CONTENT = {
    "scene0011_00": {
        "objects": ["chair", "caf\u00e9 table", ""],
        "locs": np.arange(18, dtype=np.float32).reshape(3, 6),
    },
    "empty": {"objects": [], "locs": np.zeros((0, 6), np.float32), "count": 3, "share": 0.25},
}


def test_torch_reads_what_is_written_here():
    loaded = torch.load(io.BytesIO(tensor_bytes(CONTENT)), weights_only=True)
    assert loaded["scene0011_00"]["objects"] == CONTENT["scene0011_00"]["objects"]
    assert loaded["scene0011_00"]["locs"].dtype == torch.float32
    assert np.array_equal(loaded["scene0011_00"]["locs"].numpy(), CONTENT["scene0011_00"]["locs"])
    assert loaded["empty"]["locs"].shape == (0, 6) and (loaded["empty"]["count"], loaded["empty"]["share"]) == (3, 0.25)
    assert tensor_bytes(CONTENT) == tensor_bytes(CONTENT)


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(tensor_file.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
@pytest.mark.usefixtures("no_torch")
def test_what_torch_writes_is_read(tmp_path, dtype):
    tensor = (torch.arange(24) % 7).to(getattr(torch, dtype)).reshape(4, 6)
    shared = {
        "whole": tensor,
        "part": tensor[1:3, 2:],
        "turned": tensor.T,
        "scalar": tensor[2, 3],
        "pair": (1, None, True),
    }
    torch.save(shared, tmp_path / "file.pt")
    found = read_tensors(tmp_path / "file.pt")
    for name in ("whole", "part", "turned", "scalar"):
        assert np.array_equal(found[name], shared[name].numpy()) and str(found[name].dtype) == dtype
    assert found["pair"] == (1, None, True)


@pytest.mark.usefixtures("no_torch")
def test_what_is_written_here_is_read_here(tmp_path):
    (tmp_path / "file.pt").write_bytes(tensor_bytes(CONTENT))
    found = read_tensors(tmp_path / "file.pt")
    assert found["empty"]["objects"] == [] and found["scene0011_00"]["objects"] == CONTENT["scene0011_00"]["objects"]
    assert np.array_equal(found["scene0011_00"]["locs"], CONTENT["scene0011_00"]["locs"])


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_is_executed(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(NotReadable):
        read_tensors(tmp_path / "evil.pt")
    with pytest.raises(NotReadable, match="it names builtins.print|it names __builtin__.print"):
        tensor_file._plain(tmp_path / "evil.pt")
    assert "executed" not in capsys.readouterr().out


def test_other_layouts_and_kinds_are_left_to_torch(tmp_path, monkeypatch):
    path = tmp_path / "file.pt"
    old = {"locs": torch.ones(2, 6), "list": [torch.zeros(1, dtype=torch.bfloat16)]}
    torch.save(old, path, _use_new_zipfile_serialization=False)
    found = read_tensors(path)
    assert found["locs"].shape == (2, 6) and found["list"][0].tolist() == [0.0]
    torch.save({"layer": torch.nn.Linear(2, 2)}, path)
    for content in (path.read_bytes(), b"", b"no pickle", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(NotReadable):
            read_tensors(path)
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none.pt")


@pytest.mark.slow
@pytest.mark.usefixtures("no_torch")
def test_every_damage_is_refused_or_harmless(tmp_path):
    """Each byte of the pickle changed, and the file cut everywhere: a value or ``NotReadable``, never anything else."""
    path, whole = tmp_path / "file.pt", tensor_bytes({"a": {"objects": ["x"], "locs": np.ones((2, 6), np.float32)}})
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(NotReadable):
            read_tensors(path)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        broken = bytearray(parts["archive/data.pkl"])
        broken[generator.integers(len(broken))] = generator.integers(256)
        with zipfile.ZipFile(path, "w") as archive:
            for name, blob in {**parts, "archive/data.pkl": bytes(broken)}.items():
                archive.writestr(name, blob)
        try:
            read_tensors(path)
        except NotReadable:
            refused += 1
    assert refused > 1000


def test_no_torch_is_needed():
    code = "import sys, gpt4scene.files.tensors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
