"""Files of the model hub, fetched from a real server on this machine that breaks off, refuses and lies."""

import hashlib
import random

import pytest
from hub_server import COMMIT, small_hub

from gpt4scene.errors import DataError
from gpt4scene.files import hub_transfer
from gpt4scene.files.hub import Hub, HubFile, Listing, Patience, hub_here, read_listing
from gpt4scene.files.hub_transfer import came_so_far, fetch_files, place_of

REPO = "owner/name"
BIG = random.Random(0).randbytes(300_000)
FILES = {"config.json": b'{"a": 1}', "deep/weights.bin": BIG, "empty.txt": b""}
QUICK = Patience(tries=3, pause=0.01, longest=1.0)


def client(server, token="hf_right"):
    return Hub(server.endpoint, {"authorization": f"Bearer {token}"} if token else {}, QUICK)


def fetch(server, folder, jobs=3, hub=None):
    """Fetch all files and return the sum of the bytes that were told."""
    hub = hub or client(server)
    listing = read_listing(hub, REPO, "model", "main")
    events = list(fetch_files(hub, listing, listing.files, folder, jobs))
    assert {event.path for event in events if isinstance(event, HubFile)} == set(server.repos[f"models/{REPO}"])
    return sum(event for event in events if isinstance(event, int))


@pytest.fixture
def server():
    with small_hub(repos={f"models/{REPO}": dict(FILES)}) as running:
        yield running


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_server_speaks_as_the_hub_does(server, tmp_path):
    """The hub's own client lists and fetches from it, so that what is tested here is tested against the protocol."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=server.endpoint, token="hf_right")
    info = api.repo_info(REPO, files_metadata=True)
    assert (info.sha, {row.rfilename: row.size for row in info.siblings}) == (
        COMMIT,
        {path: len(content) for path, content in FILES.items()},
    )
    api.snapshot_download(REPO, local_dir=tmp_path / "theirs", revision=COMMIT)
    assert {path: (tmp_path / "theirs" / path).read_bytes() for path in FILES} == FILES


def test_files_come_whole_and_the_token_stays_with_the_hub(server, tmp_path):
    assert fetch(server, tmp_path) == sum(map(len, FILES.values()))
    assert files_below(tmp_path) == FILES
    for _, path, _, token in server.asked:
        assert (token is None) == path.startswith("/storage/")


def test_what_breaks_off_goes_on_with_the_rest(server, tmp_path):
    """Seven breaks are more than the tries in a row; each brings some bytes, and none comes twice."""
    digest = hashlib.sha256(BIG).hexdigest()
    server.troubles = {digest: [40_000] * 7, "config.json": ["status 503", 3]}
    assert fetch(server, tmp_path) == sum(map(len, FILES.values()))
    assert files_below(tmp_path) == FILES
    spans = [span for _, span in server.requests(digest)]
    assert spans == [None, *(f"bytes={40_000 * number}-" for number in range(1, 8))]
    assert server.requests("config.json") == [("GET", None), ("GET", None), ("GET", "bytes=3-")]


def test_a_server_that_gives_up_leaves_what_came(server, tmp_path):
    digest = hashlib.sha256(BIG).hexdigest()
    server.troubles = {digest: [100_000, 0, 0]}
    with pytest.raises(DataError, match=r"'deep/weights.bin'.*ended early.*what came is kept, run the same command"):
        fetch(server, tmp_path)
    listing = read_listing(client(server), REPO, "model", "main")
    assert [came_so_far(tmp_path, file) for file in listing.files if file.path == "deep/weights.bin"] == [100_000]
    assert not (tmp_path / "deep/weights.bin").exists()
    server.asked.clear()
    fetch(server, tmp_path)
    assert server.requests(digest) == [("GET", "bytes=100000-")]
    assert files_below(tmp_path) == FILES


def test_ranges_that_are_passed_over_or_do_not_fit(server, tmp_path):
    digest = hashlib.sha256(BIG).hexdigest()
    server.troubles = {digest: [50_000, "whole"]}
    assert fetch(server, tmp_path) == sum(map(len, FILES.values()))
    assert files_below(tmp_path) == FILES
    (tmp_path / "deep/weights.bin").unlink()
    server.troubles = {digest: [50_000, "status 416"]}
    assert fetch(server, tmp_path) == sum(map(len, FILES.values()))
    assert files_below(tmp_path) == FILES


def test_other_bytes_are_fetched_again_once(server, tmp_path):
    digest = hashlib.sha256(BIG).hexdigest()
    for path, end in (("deep/weights.bin", digest), ("config.json", "config.json")):
        server.troubles = {end: ["other"]}
        fetch(server, tmp_path / "mended")
        assert files_below(tmp_path / "mended") == FILES
        server.troubles = {end: ["other", "other"]}
        with pytest.raises(DataError, match=f"'{path}': what came has another digest than the hub lists; a proxy"):
            fetch(server, tmp_path / end)
        assert not (tmp_path / end / path).exists()


REFUSALS = [
    ("config.json", "page", "sends a web page instead of the file: a proxy or a log-in page"),
    ("config.json", "long", "12 bytes are sent where the hub lists 8"),
    ("config.json", "short", "4 bytes are sent where the hub lists 8"),
    ("config.json", "status 404 X-Error-Code=EntryNotFound", "no longer has 'config.json'; run the same command"),
    ("config.json", "status 403 X-Error-Code=GatedRepo", "is gated: open http.*/owner/name, accept"),
    ("config.json", "status 429 Retry-After=900", "429 .*asks to wait 900 s.* run the same command again"),
    ("revision/main", "page", "answers with a web page: a proxy, a log-in page or a wrong HF_ENDPOINT"),
    ("revision/main", "status 404 X-Error-Code=RevisionNotFound", "has no revision 'main'; .*/tree/main lists them"),
    ("revision/main", "status 418", "answers 418 I'm a Teapot"),
    ("revision/main", "status 302 Location=file:///etc/passwd", "leads in a circle, or to an address that is not"),
    ("revision/main", "status 401", "refuses your token .401., or does not exist"),
]


@pytest.mark.parametrize(("end", "trouble", "words"), REFUSALS)
def test_refusals_are_one_sentence(server, tmp_path, end, trouble, words):
    server.troubles = {end: [trouble]}
    with pytest.raises(DataError, match=words) as caught:
        fetch(server, tmp_path)
    assert "\n" not in str(caught.value) and REPO in str(caught.value)


def test_busy_servers_are_waited_for(server, tmp_path):
    server.troubles = {
        "revision/main": ["status 429 Retry-After=0", "status 503"],
        "config.json": ["status 429 Retry-After=Mon,01-Jan-2024-00:00:00-GMT", "status 429 Retry-After=soon"],
    }
    fetch(server, tmp_path)
    assert files_below(tmp_path) == FILES
    server.troubles = {"revision/main": ["status 503"] * 3}
    with pytest.raises(DataError, match="can't be used now .the server answers 503"):
        fetch(server, tmp_path)


def test_repositories_that_moved_are_gated_or_missing(server, tmp_path, capsys):
    server.moved[f"models/{REPO}"] = "models/other/house"
    server.repos["models/other/house"] = server.repos[f"models/{REPO}"]
    fetch(server, tmp_path)
    assert "note: owner/name has moved: its name is now other/house" in capsys.readouterr().err
    assert files_below(tmp_path) == FILES
    server.moved.clear()
    server.gated.add(f"models/{REPO}")
    with pytest.raises(DataError, match="is gated: open .*, accept the terms, then log in with 'hf auth login'"):
        read_listing(client(server, None), REPO, "model", "main")
    assert read_listing(client(server), REPO, "model", "main").repo == REPO
    with pytest.raises(DataError, match="owner/none: is not at .*/owner/none, or not open to you; check HF_ENDPOINT"):
        read_listing(client(server, None), "owner/none", "model", "main")


def test_no_server_at_all(server):
    hub = Hub("http://127.0.0.1:9", {}, QUICK)
    with pytest.raises(DataError, match="http://127.0.0.1:9 can't be used now .Connection refused"):
        read_listing(hub, REPO, "model", "main")


def test_lists_cannot_lead_out(server, tmp_path):
    server.repos[f"models/{REPO}"]["../outside"] = b"bad"
    with pytest.raises(DataError, match="'../outside' would land outside its folder"):
        fetch(server, tmp_path / "deep")
    assert not (tmp_path / "outside").exists()
    with pytest.raises(DataError, match="would land outside"):
        place_of(tmp_path, HubFile("/etc/passwd", 1, "0", False))


def test_only_one_process_fetches_a_file(server, tmp_path):
    listing = read_listing(client(server), REPO, "model", "main")
    file = next(file for file in listing.files if file.path == "config.json")
    from gpt4scene.files.whole import grown_file

    with (
        grown_file(tmp_path / "config.json", file.digest),
        pytest.raises(DataError, match="another process fetches it"),
    ):
        list(fetch_files(client(server), listing, [file], tmp_path, 1))


def test_what_began_of_an_older_version_is_removed(server, tmp_path):
    """Another file whose name begins alike keeps what came of it."""
    for name in (".config.json.0ld.grown", ".config.json.b.0ld.grown"):
        (tmp_path / name).write_bytes(b"x")
    fetch(server, tmp_path)
    assert [path.name for path in tmp_path.glob("*.grown")] == [".config.json.b.0ld.grown"]


def test_files_above_50_gb_come_by_the_hubs_own_client(server, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_transfer, "BY_XET", 1000)
    server.token = ""
    hub = client(server, None)
    assert fetch(server, tmp_path, hub=hub) == sum(map(len, FILES.values()))
    assert {path: (tmp_path / path).read_bytes() for path in FILES} == FILES
    assert ("HEAD", None) in server.requests("weights.bin") and ("HEAD", None) not in server.requests("config.json")
    wrong = Listing(REPO, "model", COMMIT, (HubFile("deep/weights.bin", len(BIG), "0" * 64, True),))
    with pytest.raises(DataError, match="another digest"):
        list(fetch_files(hub, wrong, wrong.files, tmp_path, 1))
    assert not (tmp_path / "deep/weights.bin").exists()


def test_the_hub_of_the_environment(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://mirror.example/")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    hub = hub_here()
    assert hub.endpoint == "http://mirror.example"
    assert hub.headers["authorization"] == "Bearer hf_mine"
    monkeypatch.setattr(constants, "ENDPOINT", "mirror.example")
    with pytest.raises(DataError, match="HF_ENDPOINT is 'mirror.example', which is no address"):
        hub_here()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        hub_here()
