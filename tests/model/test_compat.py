"""Workarounds that can be seen to work without the machine that needs them."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, sys
from gpt4scene.model.compat import end_without_finalizing

class Tells:
    def __del__(self):
        print("taken down", flush=True)

here = Tells()
atexit.register(print, "handler ran")
print("work done")
end_without_finalizing(int(sys.argv[1]))
"""


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_ends_with_its_status_and_its_output_and_is_not_taken_down(status):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(status)], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    assert done.stdout.split("\n") == ["work done", "handler ran", ""]
