import os

import pytest

from gpt4scene.inference import launcher
from gpt4scene.inference.launcher import WorkerError, run_workers, visible_gpus


def test_gpus_are_the_listed_ones_or_all():
    assert visible_gpus({}, lambda: 3) == ["0", "1", "2"]
    assert visible_gpus({}, lambda: 0) == []
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, 5"}, lambda: 2) == ["3", "5"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "GPU-1a2b"}, lambda: 1) == ["GPU-1a2b"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, lambda: 0) == []
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}, lambda: 0) == []


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """Replaces the program that workers run by a small Python script."""
    script = tmp_path / "worker.py"
    real = launcher.subprocess.Popen

    def popen(command, **options):
        return real([command[0], str(script), *command[4:]], **options)

    monkeypatch.setattr(launcher.subprocess, "Popen", popen)

    def run(code, commands, gpus=()):
        script.write_text("import os, sys, time, pathlib\nwho = sys.argv[1]\n" + code)
        said = []
        run_workers(commands, gpus, said.append)
        return said

    return run


def test_lines_carry_the_name_of_their_process(workers):
    said = workers("print(who, os.environ['CUDA_VISIBLE_DEVICES'], file=sys.stderr)", [["a"], ["b"], ["c"]], ["4", "6"])
    assert sorted(said) == [
        "[process 1 of 3 (GPU 4)] a 4",
        "[process 2 of 3 (GPU 6)] b 6",
        "[process 3 of 3 (GPU 4)] c 4",
    ]


def test_failing_process_stops_the_others_with_its_own_words(workers, tmp_path):
    code = (
        f"pathlib.Path({str(tmp_path)!r}, who).write_text(str(os.getpid()))\n"
        "if who == 'b':\n    print('error: image x.png: it is gone', file=sys.stderr); sys.exit(1)\n"
        "time.sleep(60)"
    )
    with pytest.raises(WorkerError, match="process 2 of 2 failed: image x.png: it is gone"):
        workers(code, [["a"], ["b"]])
    if (tmp_path / "a").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "a").read_text()), 0)


def test_traceback_and_signal_are_shown(workers):
    with pytest.raises(WorkerError, match=r"(?s)Traceback.*ZeroDivisionError"):
        workers("1 / 0", [["a"]])
    with pytest.raises(WorkerError, match="process 1 of 1 was killed by signal 9: last line"):
        workers("print('last line', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)", [["a"]])


def test_worker_notices_that_its_launcher_is_gone(monkeypatch):
    monkeypatch.delenv(launcher.PARENT, raising=False)
    launcher.check_launcher()
    monkeypatch.setenv(launcher.PARENT, str(os.getppid()))
    launcher.check_launcher()
    monkeypatch.setenv(launcher.PARENT, "1" if os.getppid() != 1 else "2")
    with pytest.raises(WorkerError, match="the process that started this one is gone"):
        launcher.check_launcher()
