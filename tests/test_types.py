"""Pyright finds nothing wrong in the package."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pyright_is_clean(root):
    settings = str(root / "pyproject.toml")  # else a pyrightconfig.json of any folder above would win
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "--project", settings]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=800)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"pyright can't be run here ({type(error).__name__}); it is fetched at its first call")
    wrong = [
        f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}" for one in found["generalDiagnostics"]
    ]
    assert found["summary"]["filesAnalyzed"] > 100 and not wrong, "\n".join(wrong)
