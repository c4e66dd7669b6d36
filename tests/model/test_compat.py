"""Workarounds that can be seen to work without the machine that needs them."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, os
from gpt4scene.model.compat import end_without_finalizing

class Tells:
    def __del__(self):
        print("taken down", flush=True)

for status in (0, 3):
    if os.fork() == 0:
        here = Tells()
        atexit.register(print, "handler ran")
        print("work done")
        end_without_finalizing(status)
    print("status", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.mark.slow
def test_a_process_ends_with_its_status_and_its_output_and_is_not_taken_down():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = [["work done", "handler ran", f"status {status}"] for status in (0, 3)]
    assert done.stdout.splitlines() == [*said[0], *said[1]]
