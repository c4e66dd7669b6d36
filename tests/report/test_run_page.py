"""The page of a training run, made of folders as runs leave them."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from browser import complaints, start_browser
from commands import report as main

from gpt4scene.errors import DataError
from gpt4scene.report import calling
from gpt4scene.report.run_page import write_run_page
from gpt4scene.report.training import page_at_end

EVIL = "<script>alert(1)</script>"


def line(step, **figures):
    return {
        "current_steps": step,
        "total_steps": 40,
        "epoch": step / 20,
        "elapsed_time": f"0:0{step // 10}:00",
    } | figures


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of adapters that was stopped at step 30, with answers, a row left out and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "out/my run"
    (folder / "checkpoint-30").mkdir(parents=True)
    for name in ("batches.json", "adapter_config.json", "adapter_model.safetensors"):
        (folder / "checkpoint-30" / name).write_text("{}")
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation/questions_val.json").write_text("[]")
    speed = {"questions_per_second": 2.0, "tokens_per_second": 200.0}
    rows = [line(step, loss=4 / step, loss_rooms=1.0, loss_words=2.0, **speed) for step in (10, 20, 30)]
    rows.append(line(30, eval_loss=0.5, eval_exact_match=0.25))
    rows.append(line(30, loss=float("nan")))
    (folder / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = [
        {"step": step, "task": "rooms", "row": "rooms/1", "question": f"Which? {EVIL}", "truth": "<OBJ003>."}
        | {"answer": said, "tokens": 3}
        for step, said in ((10, "a chair"), (30, "<OBJ003>"))
    ]
    (folder / "eval_answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    flags = ["--model_name_or_path", "base", "--learning_rate", "0.001", "--resume_from_checkpoint", "auto"]
    about = {
        "status": "stopped",
        "note": "stopped by SIGINT after step 30 of 40",
        "started": "2026-01-01T10:00:00+00:00",
        "ended": "2026-01-01T12:30:00+00:00",
        "config": {
            "model": {"model_name_or_path": "base", "adapter_name_or_path": None},
            "data": {"dataset": ["rooms"], "dataset_dir": "data", "image_resolution": 112, "cutoff_len": 32768},
            "tuning": {"stage": "sft", "finetuning_type": "lora", "lora_rank": 16},
            "training": {"learning_rate": 0.001},
            "notes": ["'warmup_ratio' is called warmup_steps now"],
            "source": "my file.yaml",
            "flags": ["my file.yaml", *flags],
        },
        "hardware": {"processes": 2, "accelerators": ["H200", "H200"], "folder": str(tmp_path), "cores": 8},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "data": {"rows": 100, "scenes": 5, "held_out": 4, "skipped": [f"rooms, row 7: {EVIL}"]},
        "batch": {"questions_per_step": 5, "scene_packing": 5},
        "advice": ["learning_rate 0.001 is high"],
        "parts": [{"name": "tower", "how": "frozen", "parameters": 1200, "trained": 0, "learning_rates": []}],
        "arguments": {"optim": "adamw"},
    }
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def commands(page):
    return [re.sub(r"^\S*gpt4scene", "gpt4scene", text) for text in re.findall(r"<pre[^>]*>(.*?)</pre>", page)]


def test_a_stopped_run_is_told_whole(run):
    text = write_run_page(run).read_text()
    for words in (
        *("my run: training run", "stopped by SIGINT after step 30 of 40", "4 things to know", "2 h 30 min"),
        *('<td class="value">5</td>', "about 150", "about 15,000", "2 × H200", "step 30: right", "step 10: other"),
        *("loss was no finite number at step 30", "learning_rate 0.001 is high", "Rows left out <small>1</small>"),
        *('<code>lora_rank</code></th><td>16</td><td class="soft">8</td>', "held-out rows", "3 min"),
    ):
        assert words in text, words
    assert "<script" not in text and EVIL.replace("<", "&lt;").replace(">", "&gt;") in text
    assert "http" not in text.replace("http-equiv", ""), "no network"
    assert text.index("<code>lora_rank") < text.index("At their defaults") < text.index("<code>cutoff_len")
    shown = text.count('class="curve"')
    assert shown == text.count("As a table") == text.count('role="img" aria-label=') == 5


def test_commands_go_on_with_what_is_there(run):
    found = commands(write_run_page(run).read_text())
    model = "&#39;out/my run/checkpoint-30&#39;"
    given = "&#39;my file.yaml&#39; --model_name_or_path base --learning_rate 0.001"
    assert found == [
        f"torchrun --nproc_per_node 2 src/train.py {given} --resume_from_checkpoint true",
        f"gpt4scene infer --model {model} --annotation_dir annotation --output_dir &#39;out/my run/predictions&#39; "
        "--image_resolution 112",
        "gpt4scene score --predictions &#39;out/my run/predictions&#39; --annotation_dir annotation",
        "gpt4scene report --predictions &#39;out/my run/predictions&#39; --annotation_dir annotation "
        "--out &#39;out/my run/report&#39;",
        f"gpt4scene chat --model {model} --scenes SCENES_DIR --image_resolution 112",
        f"gpt4scene export --model base --adapter {model} --out &#39;out/my run-merged&#39;",
    ]
    about = json.loads((run / "run.json").read_text())
    about["hardware"]["processes"] = 16
    (run / "run.json").write_text(json.dumps(about))
    assert (
        commands(write_run_page(run).read_text())[0].startswith("src/train.py")
        and "several machines" in (run / "index.html").read_text()
    )


def test_a_run_that_failed_before_its_first_figures_is_told_and_started_again(run, capsys):
    for name in ("trainer_log.jsonl", "eval_answers.jsonl"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoint-30")
    about = json.loads((run / "run.json").read_text())
    about |= {"status": "failed", "note": "OutOfMemoryError: 66.53 GiB"}
    again = "torchrun --nproc_per_node 2 src/train.py &#39;my file.yaml&#39;"
    given = "--model_name_or_path base --learning_rate 0.001"
    for flags, words, overwrites in (
        (given.split(), f"{given} --resume_from_checkpoint auto", False),
        ([*given.split(), "--resume_from_checkpoint", "auto"], f"{given} --resume_from_checkpoint auto", False),
        (["--overwrite_output_dir", "true"], "--overwrite_output_dir true", True),
    ):
        about["config"]["flags"] = ["my file.yaml", *flags]
        about["config"]["tuning"]["overwrite_output_dir"] = overwrites
        (run / "run.json").write_text(json.dumps(about))
        page_at_end(str(run))
        assert f"the run as a page: {run / 'index.html'}" in capsys.readouterr().err
        text = (run / "index.html").read_text()
        assert "The run failed: OutOfMemoryError: 66.53 GiB." in text and "before its first figures" in text
        assert commands(text) == [f"{again} {words}"]
        assert 'id="curves"' not in text and 'id="answers"' not in text


def test_a_run_of_the_public_project_has_a_page(tmp_path):
    history = [{"step": step, "loss": 2 / step, "learning_rate": 5e-6} for step in (10, 20)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history, "max_steps": 20}))
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    text = write_run_page(tmp_path).read_text()
    assert "There is no run.json here" in text and "20 of 20" in text and ">Learning rate</figcaption>" in text
    assert (
        f"infer --model {tmp_path} --annotation_dir ANNOTATION_DIR" in text
        and "<code>ANNOTATION_DIR</code>: put in" in text
    )
    assert 'id="settings"' not in text and "Go on with the training" not in text


def test_the_command_makes_the_page_again_and_refuses_what_is_none(run, tmp_path, capsys):
    assert main(["--run", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "index.html")
    for words, said in (
        (["--run", str(tmp_path / "gone")], "there is no such folder; --run names one"),
        (["--run", str(run), "--out", "pages"], "--out is about answers and --run about a training run"),
        ([], "--predictions and --out are missing; or give --run DIR"),
        (["--predictions", str(run)], "--out is missing; or give --run DIR"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert main(["--run", str(tmp_path)]) == 1 and "holds no training run" in capsys.readouterr().err


def test_a_page_of_somebody_else_is_left_alone_and_the_run_is_not_broken(run, tmp_path, capsys):
    (run / "index.html").write_text("mine")
    with pytest.raises(DataError, match="was not written by gpt4scene train"):
        write_run_page(run)
    page_at_end(str(run))
    assert (run / "index.html").read_text() == "mine"
    assert "warning: the page about the run was not written: " in capsys.readouterr().err
    page_at_end(str(tmp_path / "nothing"))
    assert "warning: the page about the run was not written: " in capsys.readouterr().err
    (run / "index.html").unlink()
    page_at_end(str(run))
    assert f"the run as a page: {run / 'index.html'}" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["config", "data", "hardware", "parts", "advice", "versions", "batch", "note"])
def test_a_record_of_odd_parts_has_a_page(run, part):
    about = json.loads((run / "run.json").read_text())
    for odd in (None, [], {}, "word", 3):
        (run / "run.json").write_text(json.dumps(about | {part: odd}))
        assert write_run_page(run).is_file()


def test_the_program_is_called_as_a_shell_here_finds_it(tmp_path, monkeypatch):
    binaries = tmp_path / "env/bin"
    binaries.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    assert calling.program() == "env/bin/python -m gpt4scene"
    (binaries / "gpt4scene").write_text("#!/bin/sh\n")
    (binaries / "gpt4scene").chmod(0o755)
    assert calling.program() == "env/bin/gpt4scene"
    monkeypatch.chdir(binaries)
    assert calling.program() == "./gpt4scene", "a bare name would be looked for elsewhere"
    monkeypatch.setenv("PATH", str(binaries))
    assert calling.program() == "gpt4scene"
    assert calling.written("view", Path("a b"), "x") == "view 'a b' x"


@pytest.fixture
def browser():
    started = start_browser()
    yield started
    started.quit()


CONTRASTS = """
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => { while (node) { const c = parts(getComputedStyle(node).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; node = node.parentElement; } return [255, 255, 255]; };
const written = "p, th, td, code, pre, a, summary, small, .pill, .warning, .keys li, text";
return [...document.querySelectorAll(written)].map((node) => {
  const style = getComputedStyle(node), ink = parts(node.tagName == "text" ? style.fill : style.color);
  const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), node.tagName + ": " + node.textContent.slice(0, 30)];
}).filter(([ratio]) => ratio < 4.5);
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_page_in_a_browser(run, browser):
    """From the disk, on a desk, on a phone and in the dark: nothing complains, sticks out, or is too faint."""
    browser.get(write_run_page(run).as_uri())
    for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for opened in (False, True):
            browser.execute_script("document.querySelectorAll('details').forEach((d) => d.open = arguments[0])", opened)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.execute_script(CONTRASTS) == []
    assert browser.execute_script("return document.querySelectorAll('svg[role=img]:not([aria-label])').length") == 0
    from selenium.webdriver.common.keys import Keys

    browser.refresh()
    summary = browser.find_element("css selector", "summary")
    browser.execute_script("arguments[0].focus()", summary)
    summary.send_keys(Keys.ENTER)
    assert browser.execute_script("return arguments[0].parentElement.open", summary), "by the keyboard alone"
    assert complaints(browser) == []
