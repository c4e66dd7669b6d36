"""A server as a process: how it starts, what it refuses to start with, and how signals end it."""

import asyncio
import fcntl
import os
import signal
import socket
import threading
import time

import pytest
from chat_server import wait_for
from hybrid import HYBRID
from stand_in import Process, web

from gpt4scene import cli
from gpt4scene.errors import ConfigError
from gpt4scene.serve import run
from gpt4scene.serve import server as servers
from gpt4scene.serve import spool as spools
from gpt4scene.serve.arguments import KEY_VARIABLE, ServeArguments


@pytest.fixture
def begin(python, tmp_path):
    started = []

    def start(*words):
        started.append(Process(python, tmp_path, *words))
        return started[-1].ready()

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def running(server):
    page = web.get(f"{server.url}/metrics").text
    return "gpt4scene_answers_running 1.0" in page


def whole(connection):
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


@pytest.mark.slow
def test_a_signal_lets_what_runs_finish_and_takes_no_more(begin, body, tmp_path):
    server = begin(0.02, 20)
    answered = server.ask(body(max_tokens=100))
    wait_for(lambda: running(server))
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refused(server.port))
    assert b'"completion_tokens":100' in whole(answered)
    status, said = server.end()
    assert status == 0 and "1 answers under way get up to 20 s" in said
    assert not list(tmp_path.glob("gpt4scene-serve-*"))


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_vl", HYBRID])
def test_the_real_command_answers_with_its_key_and_ends_well(begin, url, body, tmp_path, family):
    from gpt4scene.demo.tiny_model import build

    folder = build(tmp_path / "model", family)
    key = tmp_path / "key"
    key.write_text("secret\n")
    server = begin("serve", f"--model={folder}", f"--api_key_file={key}", "--image_resolution=112", "--grace=20")
    asked = {"url": f"{server.url}/v1/chat/completions", "json": body(images=[url(1)], model=str(folder))}
    assert web.post(**asked).status_code == 401
    reply = web.post(**asked, headers={"authorization": "Bearer secret"})
    assert reply.status_code == 200 and reply.json()["usage"]["completion_tokens"] in range(1, 5), reply.text
    again = web.post(**asked, headers={"authorization": "Bearer secret"})
    assert again.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    page = web.get(f"{server.url}/metrics").text
    assert "gpt4scene_prefix_hits_total 1.0" in page and "_created" not in page
    server.process.send_signal(signal.SIGTERM)
    status, said = server.end()
    assert status == 0 and said.startswith(f"{server.url}/v1\n") and "secret" not in said
    assert f"model {folder} is ready; press Ctrl-C to end" in said


@pytest.mark.slow
def test_what_does_not_finish_in_time_is_told_so(begin, body):
    server = begin(0.05, 1)
    cut = server.ask(body(max_tokens=1000))
    wait_for(lambda: running(server))
    server.process.send_signal(signal.SIGTERM)
    found = whole(cut)
    assert found.startswith(b"HTTP/1.1 503") and b"the server is stopping" in found and b"retry-after" in found.lower()
    status, said = server.end()
    assert status == 143 and "stopped; requests that were cut: 1" in said


@pytest.mark.slow
def test_a_second_signal_ends_at_once(begin, body, tmp_path):
    server = begin(0.05, 60)
    cut = server.ask(body(max_tokens=1000))
    wait_for(lambda: running(server))
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refused(server.port))
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    status, _ = server.end(15)
    assert status == 143 and time.monotonic() - start < 10
    cut.close()
    assert not list(tmp_path.glob("gpt4scene-serve-*"))


@pytest.mark.slow
def test_a_killed_server_leaves_images_that_the_next_one_removes(begin, body, url, tmp_path):
    first = begin()
    assert b"200 OK" in first.ask(body(images=[url(1)])).recv(100)
    (left,) = tmp_path.glob("gpt4scene-serve-*")
    assert len(list(left.glob("*.ppm"))) == 1 and left.stat().st_mode & 0o077 == 0
    first.process.kill()
    first.process.wait()
    second = begin()
    (other,) = tmp_path.glob("gpt4scene-serve-*")
    assert other != left
    second.process.send_signal(signal.SIGINT)
    assert second.end()[0] == 0, "all was answered"


@pytest.mark.slow
def test_an_engine_that_dies_ends_the_server_with_status_1(begin, body):
    server = begin(0, 1)
    assert b"503" in server.ask(body("die")).recv(100)
    assert web.get(f"{server.url}/health").status_code == 503
    status, said = server.end()
    assert status == 1 and "error: the engine has failed: CUDA error: an illegal memory access" in said
    assert "Traceback" in said, "who runs the server needs it"


def serve(*words):
    return cli.main(["serve", "--model", "nowhere", *words])


@pytest.fixture
def a_model(monkeypatch):
    """Serve takes its model for one that is there, until it is loaded."""
    monkeypatch.setattr(run, "look_for_model", lambda arguments: None)


@pytest.mark.usefixtures("a_model")
def test_a_port_in_use_is_one_sentence_before_a_model_is_loaded(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve(f"--port={port}") == 2
    assert capsys.readouterr().err == (
        f"error: --port {port} at 127.0.0.1 can't be used (Address already in use); choose another --port\n"
    )


def test_a_port_that_another_took_while_a_model_was_loaded_is_one_sentence():
    """Two may hold a port until one listens."""
    first = servers.listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    with first, servers.listen("127.0.0.1", port) as second:
        second.listen()
        server = servers.Server(None, lambda: None, 1)
        with pytest.raises(ConfigError, match=rf"--port {port} at 127.0.0.1 can't be used .*; choose another"):
            asyncio.run(server.startup([first]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port=0"], "nowhere"),
        (["--port=70000"], "--port must be between 0 and 65535"),
        (["--host=no.such.host.invalid"], "--host no.such.host.invalid is no address here"),
        (["--prefix_memory=-1"], "--prefix_memory must be 0 or more"),
        (["--timeout=inf"], "--timeout must be a finite number"),
        (["--template=llama"], "--template: 'llama' is not known"),
        (["--api_key_file=absent"], "absent: the key does not exist"),
        (["--dtype=int8"], "--dtype"),
        (["--host="], "--host is empty"),
    ],
)
def test_wrong_calls_are_one_sentence(words, sentence, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if sentence != "nowhere":
        monkeypatch.setattr(run, "look_for_model", lambda arguments: None)
    assert serve(*words) in (1, 2)
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said and len(said.splitlines()) <= 2, said


def test_the_key_comes_from_one_place(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert run.find_key(None) is None
    file = tmp_path / "key"
    file.write_text("abc\n")
    assert run.find_key(str(file)) == "abc"
    monkeypatch.setenv(KEY_VARIABLE, "def")
    assert run.find_key(None) == "def"
    for text, words in (("abc", "both give a key"), ("", "both give")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            run.find_key(str(file))
    monkeypatch.delenv(KEY_VARIABLE)
    for text, words in (("", "is empty"), ("two words", "printable ASCII"), ("schlüssel", "printable ASCII")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            run.find_key(str(file))


def test_no_flag_holds_the_key():
    assert not {"api_key", "key"} & set(vars(ServeArguments(model="m"))), "ps would show it"


def test_a_folder_in_use_is_none_that_systemd_cleans(tmp_path, monkeypatch):
    """It leaves alone what somebody has a lock on: tmpfiles.d(5)."""
    monkeypatch.setattr(spools.tempfile, "tempdir", str(tmp_path))
    with spools.spool() as folder:
        other = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("a_model")
def test_a_place_without_room_for_images_is_said_before_the_model_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(spools.tempfile, "tempdir", str(tmp_path / "absent"))
    assert serve("--port=0") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no folder for images can be made (") and "let TMPDIR name" in said


def test_two_servers_that_begin_at_once_leave_each_other_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(spools.tempfile, "tempdir", str(tmp_path))
    barrier, seen = threading.Barrier(4), []

    def keep():
        barrier.wait()
        with spools.spool() as folder:
            barrier.wait()
            seen.append(folder.is_dir())
            barrier.wait()

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4 and not list(tmp_path.iterdir())
