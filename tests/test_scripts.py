"""The shell scripts: well-formed, quick when nothing changed, from any folder, and clear about what failed."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCED = ROOT / "examples/slurm/flags.sh"
"""A part that two scripts read, and nobody calls."""
SCRIPTS = sorted(
    {*ROOT.glob("scripts/*.sh"), *ROOT.glob("evaluate/*.sh"), *ROOT.glob("examples/**/*.sh"), ROOT / ".ci/run"}
    - {SOURCED}
)

FAKE_PYTHON = """#!/usr/bin/env bash
# Stands for .venv/bin/python: writes down what it is asked, and fails where FAIL says so.
echo "$*" >>"$CALLS"
case "$*" in *"${FAIL:-nothing to fail}"*) exit 3 ;; esac
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=[str(path.relative_to(ROOT)) for path in SCRIPTS])
def test_scripts_are_well_formed(script):
    assert script.read_text().startswith("#!/")
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_test_script():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "scripts/test.sh" in (ROOT / ".ci/run").read_text()


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a stand-in for the environment's Python; its calls land in ``calls``."""
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "setup.py", "scripts/setup.sh", "scripts/test.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE_PYTHON)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def run(checkout, *words, fail="nothing to fail", script="setup.sh"):
    calls = checkout / "calls"
    calls.write_text("")
    done = subprocess.run(
        ["bash", str(checkout / "scripts" / script), *words],
        cwd="/",
        capture_output=True,
        text=True,
        env={**os.environ, "CALLS": str(calls), "FAIL": fail},
    )
    return done, calls.read_text()


def test_setup_installs_under_the_constraints_and_then_rests(checkout):
    done, calls = run(checkout)
    assert done.returncode == 0, done.stderr
    assert "-c constraints.txt -e .[metrics,torch]" in calls
    done, calls = run(checkout)
    assert (done.returncode, calls) == (0, "")


def test_setup_adds_extras_and_keeps_them(checkout):
    run(checkout)
    _, calls = run(checkout, "deepspeed")
    assert "-e .[deepspeed,metrics,torch]" in calls
    _, calls = run(checkout)
    assert calls == ""
    (checkout / "constraints.txt").write_text("torch==2.13.0\n")
    _, calls = run(checkout)
    assert "-e .[deepspeed,metrics,torch]" in calls


def test_setup_takes_extras_with_hyphens_and_builds_flash_attn_against_torch(checkout):
    done, calls = run(checkout, "qwen-vl-utils", "flash-attn")
    assert done.returncode == 0, done.stderr
    first, second = [line for line in calls.splitlines() if " install " in line]
    assert "-e .[metrics,qwen-vl-utils,torch]" in first and "--no-build-isolation -e .[flash-attn]" in second
    done, _ = run(checkout, "flash")
    assert done.returncode == 2 and "'flash' is no extra" in done.stderr


def test_setup_says_which_step_failed_and_tries_again(checkout):
    done, _ = run(checkout, fail="pip install")
    assert done.returncode != 0
    assert "setup.sh: failed while: installing .[metrics,torch]" in done.stderr
    done, calls = run(checkout)
    assert done.returncode == 0 and "pip install" in calls


def test_test_script_sets_up_and_hands_its_arguments_to_pytest(checkout):
    done, calls = run(checkout, "-q", "tests/data", script="test.sh")
    assert done.returncode == 0, done.stderr
    assert "-e .[deepspeed,dev,docs,gui,metrics,optimizers,quant,serve,server,torch,tracking,video]" in calls
    last = calls.splitlines()[-1]
    assert "-m pytest -n 1 --maxprocesses 8" in last and last.endswith("-q tests/data")
    done, _ = run(checkout, script="test.sh", fail="pytest")
    assert done.returncode != 0 and "test.sh: failed" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--out", "there", "--help"]], ids=" ".join)
@pytest.mark.parametrize("script", SCRIPTS, ids=[str(path.relative_to(ROOT)) for path in SCRIPTS])
def test_help_is_printed_and_nothing_else_happens(script, words, tmp_path):
    """Each script runs in a bare copy of its folders, where anything that it starts or writes would be seen."""
    for path in SCRIPTS:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        ["bash", str(tmp_path / script.relative_to(ROOT)), *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    about = [line for line in script.read_text().splitlines() if line.startswith("# ")]
    assert about[0].removeprefix("# ") in done.stdout or "scripts/test.sh" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_setup_refuses_an_unknown_extra_before_anything_is_made(checkout):
    done, calls = run(checkout, "dev", "servers")
    assert (done.returncode, calls) == (2, "")
    assert "'servers' is no extra" in done.stderr
