"""The program: help without torch, exit statuses, users' mistakes as sentences, and the training entry."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt4scene import cli, talk
from gpt4scene.errors import ConfigError, DataError

SOURCE = Path(__file__).resolve().parent.parent / "src"


def run_python(*words, **environment):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("command", cli.COMMANDS, ids=[command.name for command in cli.COMMANDS])
def test_every_listed_command_exists(command):
    module, _, function = command.function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert command.kinds()


def test_help_lists_the_commands_and_imports_no_torch():
    done = run_python(
        "-c",
        "import sys; from gpt4scene.cli import main; status = main(['--help']); "
        "assert not {'torch', 'transformers', 'PIL', 'scipy'} & set(sys.modules), 'slow import'; sys.exit(status)",
    )
    assert done.returncode == 0, done.stderr
    for command in cli.COMMANDS:
        assert f"  {command.name} " in done.stdout


def test_no_command_and_unknown_command(capsys):
    assert cli.main([]) == 2
    assert cli.main(["trian"]) == 2
    assert "'trian' is no command; did you mean 'train'?" in capsys.readouterr().err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip()


def test_train_help_names_the_keys(capsys):
    assert cli.main(["train", "--help"]) == 0
    assert "--scene_packing INT" in capsys.readouterr().out


def test_wrong_settings_are_exit_2_and_all_said(capsys):
    assert cli.main(["train", "--modle_name_or_path", "x", "--bf16", "perhaps"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'model_name_or_path'?" in said and "'--bf16' must be true or false" in said


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ConfigError("first", "second"), 2, "error: first\nerror: second\n"),
        (DataError("row 3 is wrong"), 1, "error: row 3 is wrong\n"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), 1, "error: a.json: No such file or directory\n"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device\n"),
        (ModuleNotFoundError("No module", name="httpx"), 1, '".[server]"'),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_mistakes_become_sentences(error, status, words, capsys, monkeypatch):
    monkeypatch.delenv("GPT4SCENE_DEBUG", raising=False)
    monkeypatch.delenv("RANK", raising=False)

    def fail():
        raise error

    assert cli.guarded(fail) == status
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_debugging_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("GPT4SCENE_DEBUG", "1")

    def fail():
        raise DataError("row 3 is wrong")

    assert cli.guarded(fail) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ModuleNotFoundError("gone", name="gpt4scene.gone")])
def test_bugs_keep_their_traceback(error):
    def fail():
        raise error

    with pytest.raises(type(error)):
        cli.guarded(fail)


def test_other_processes_say_which_they_are(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")

    def fail():
        raise DataError("row 3 is wrong")

    cli.guarded(fail)
    assert capsys.readouterr().err == "[process 3] error: row 3 is wrong\n"


def wrong_call(name, folder):
    """Words with which the command fails, and its exit status."""
    gone, out = str(folder / "gone"), str(folder / "out")
    return {
        "prepare": (["--scans", gone, "--out", out], 1),
        "annotate": (["--raw", gone, "--scenes", gone, "--out", out], 1),
        "train": ([gone + ".yaml"], 2),
        "infer": (["--model", gone, "--annotation_dir", gone, "--output_dir", out], 1),
        "score": (["--predictions", str(folder), "--annotation_dir", str(folder)], 1),
        "judge": (["--predictions", gone, "--base_url", "http://localhost:1/v1", "--model", "m"], 2),
        "view": ([gone], 1),
        "report": (["--predictions", str(folder), "--annotation_dir", str(folder), "--out", out], 1),
        "export": (["--adapter", gone, "--out", out], 1),
        "doctor": ([gone + ".yaml"], 2),
        "demo": (["--rooms", "1"], 2),
        "serve": (["--model", gone], 1),
        "ask": (["--model", gone, "--scene", gone, "What is there?"], 1),
        "chat": (["--model", gone, "--scenes", gone], 1),
    }[name]


@pytest.mark.parametrize("command", cli.COMMANDS, ids=[command.name for command in cli.COMMANDS])
def test_every_command_fails_with_a_sentence_and_shows_its_traceback_on_request(command, tmp_path, capsys, monkeypatch):
    words, status = wrong_call(command.name, tmp_path)
    monkeypatch.delenv("GPT4SCENE_DEBUG", raising=False)
    assert cli.main([command.name, *words]) == status
    said = capsys.readouterr().err
    assert "error: " in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("GPT4SCENE_DEBUG", "1")
    assert cli.main([command.name, *words]) == status
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS, ids=[command.name for command in cli.COMMANDS])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_every_command_stops_at_once(command, number, status, capsys, monkeypatch):
    def work(*_):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("gpt4scene.settings.flags.read", lambda *_: None)
    monkeypatch.setattr("gpt4scene.settings.config.parse", lambda *_: None)
    monkeypatch.setattr(cli, "refuse_wrong_flags", lambda *_, **__: None)
    module, _, function = command.function.partition(":")
    monkeypatch.setattr(importlib.import_module(module), function, work)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert cli.main([command.name]) == status
    said = capsys.readouterr().err
    assert "stopped by" in said and command.stopped in said and "Traceback" not in said
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_while_a_library_is_imported_is_not_lost(number, status, tmp_path, monkeypatch, capsys):
    (tmp_path / "a_library.py").write_text(
        "import os\ntry:\n    import a_part_of_it\nexcept BaseException:\n    lost = True\n"
    )
    (tmp_path / "a_part_of_it.py").write_text(f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)

    def work():
        import a_library

        assert not hasattr(a_library, "lost")
        time.sleep(5)
        return 0

    try:
        assert cli.guarded(work) == status
    finally:
        for name in ("a_library", "a_part_of_it"):
            sys.modules.pop(name, None)
    assert "stopped by" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "status"), [(["--version"], 0), (["trian"], 2), ([], 2)])
def test_the_program_ends_with_the_status_of_its_command(words, status, capsys):
    with pytest.raises(SystemExit) as end:
        cli.program(words)
    assert end.value.code == status


def test_a_process_that_goes_quietly_keeps_its_status(monkeypatch):
    def main(argv):
        raise SystemExit(2)

    monkeypatch.setattr(cli, "main", main)
    with pytest.raises(SystemExit) as end:
        cli.program(["train"])
    assert end.value.code == 2


def test_an_interrupt_that_is_ignored_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert cli.guarded(lambda: os.kill(os.getpid(), signal.SIGINT) or 0) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_flags_of_every_command_are_taken_off_or_refused(capsys, monkeypatch):
    said = []

    def work(arguments):
        said.append((talk.quiet(), talk.verbose(), talk.as_json(), arguments.out))
        talk.say("works")
        talk.result("done", out=arguments.out)
        return 0

    monkeypatch.delenv(talk.VARIABLE, raising=False)
    monkeypatch.setattr("gpt4scene.demo.pipeline.main", work)
    assert cli.main(["demo", "--out", "a", "--quiet"]) == 0
    assert capsys.readouterr() == ("done\n", "")
    assert cli.main(["--json", "demo", "--out", "a"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"out": "a"} and shown.err == ""
    assert cli.main(["demo", "-v"]) == 0
    shown = capsys.readouterr()
    assert "--held_out 2" in shown.err and "works" in shown.err and "demo took" in shown.err
    assert said == [(True, False, False, "a"), (True, False, True, "a"), (False, True, False, "outputs/demo")]
    assert cli.main(["demo", "--quiet", "-v"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert cli.main(["serve", "--model", "m", "--json"]) == 2
    assert "gpt4scene serve has no result that --json could print" in capsys.readouterr().err
    assert cli.main(["--quite"]) == 2
    assert "did you mean '--quiet'" in capsys.readouterr().err


def test_a_misspelt_training_key_is_found_without_torch():
    done = run_python(
        "-c",
        "import sys; from gpt4scene.cli import main; status = main(['train', '--lernin_rate', '3']); "
        "assert not {'torch', 'transformers'} & set(sys.modules), 'slow import'; sys.exit(status)",
    )
    assert done.returncode == 2 and "did you mean 'learning_rate'?" in done.stderr, done.stderr


def test_slow_imports_are_said_and_quick_ones_not(capsys, monkeypatch):
    sentence = next(command for command in cli.COMMANDS if command.name == "train").loading()
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(cli, "SLOW", 0.01)
    with cli._says_what_takes_long(sentence):
        time.sleep(0.2)
    assert capsys.readouterr().err == "loading torch and transformers; this takes some seconds\n"
    monkeypatch.setattr(cli, "SLOW", 5)
    with cli._says_what_takes_long(sentence):
        pass
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_gone_is_no_error():
    words = f"{sys.executable} -m gpt4scene train --help | head -1"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("usage: gpt4scene train") and done.stderr == ""


def test_every_extra_is_named_for_its_packages():
    """What pyproject.toml lists under an extra is what a missing module of it is said to come with."""
    project = (SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8")
    part = project[project.index("[project.optional-dependencies]") : project.index("[project.scripts]")]
    modules = {"mkdocs-material": "mkdocs", "mlflow-skinny": "mlflow"}
    for extra, listed in re.findall(r"^([\w-]+) = \[(.*?)\]\n", part, re.MULTILINE | re.DOTALL):
        packages = re.findall(r'"([A-Za-z0-9_-]+)', listed)
        assert packages, extra
        for package in packages if extra not in ("dev", "torch") else []:
            module = modules.get(package, package.replace("-", "_"))
            assert f'".[{extra}]"' in cli._extra_for(module), (extra, module)
    assert '".[torch]"' in cli._extra_for("peft")


def test_the_package_runs_as_the_program():
    done = run_python("-m", "gpt4scene", "--version")
    assert done.returncode == 0 and done.stdout.strip()


@pytest.mark.slow
def test_train_script_reports_like_the_program(python, tmp_path):
    command = [python, str(SOURCE / "train.py"), "--dataset", "d", "--output_dir", str(tmp_path), "--stge", "sft"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "'--stge' is not a key; did you mean 'stage'?" in done.stderr
    assert "'model_name_or_path' is missing" in done.stderr
    assert "Traceback" not in done.stderr
