import os
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl

from gpt4scene.errors import Stopped
from gpt4scene.training import signals
from gpt4scene.training.signals import StopOnSignal

ARGUMENTS = SimpleNamespace(device=torch.device("cpu"))


def test_a_signal_becomes_a_checkpoint_and_an_end():
    control = TrainerControl()
    with StopOnSignal() as stop:
        stop.on_step_end(ARGUMENTS, None, control)
        assert not control.should_training_stop and not control.should_save
        signal.raise_signal(signal.SIGTERM)
        stop.on_step_end(ARGUMENTS, None, control)
    assert control.should_training_stop and control.should_save and control.should_log
    assert stop.received == signal.SIGTERM


def test_a_signal_that_comes_while_the_processes_are_asked_is_not_lost(monkeypatch):
    def asked(number, device):
        if not stop.received and not number:
            signal.raise_signal(signal.SIGTERM)
        return number

    monkeypatch.setattr(signals, "highest_of_all", asked)
    control = TrainerControl()
    with StopOnSignal() as stop:
        stop.on_step_end(ARGUMENTS, None, control)
        assert not control.should_training_stop
        stop.on_step_end(ARGUMENTS, None, control)
    assert control.should_training_stop and stop.received == signal.SIGTERM


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopOnSignal():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_exit_status_is_the_shells():
    assert Stopped("stopped").exit_status == 130
    assert Stopped("stopped", signal.SIGTERM).exit_status == 143


@pytest.mark.slow
def test_a_second_signal_stops_at_once(python):
    code = (
        "import time\nfrom gpt4scene.training.signals import StopOnSignal\n"
        "with StopOnSignal():\n    print('ready', flush=True)\n    time.sleep(60)\n    time.sleep(60)\n"
    )
    running = subprocess.Popen([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "ready\n"
    os.kill(running.pid, signal.SIGTERM)
    assert any("stopping after this step" in line for line in running.stderr)  # libraries may write lines before it
    time.sleep(0.2)
    assert running.poll() is None
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(timeout=20) == 143


def test_what_processes_agreed_on_in_a_step_ends_it_together(monkeypatch):
    """A signal that comes after they agreed waits for the next step; in the last step they ask again."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(signals, "highest_of_all", lambda number, device: number)
    middle, last = SimpleNamespace(global_step=3, max_steps=9), SimpleNamespace(global_step=9, max_steps=9)
    with StopOnSignal() as stop:
        stop.agree(0)
        signal.raise_signal(signal.SIGTERM)
        control = TrainerControl()
        stop.on_step_end(ARGUMENTS, middle, control)
        assert not control.should_training_stop and stop.received == 0 and stop.noted == signal.SIGTERM
        stop.agree(0)
        stop.on_step_end(ARGUMENTS, last, control)
        assert control.should_training_stop and stop.received == signal.SIGTERM
        control = TrainerControl()
        stop.agree(signal.SIGTERM)
        stop.on_step_end(ARGUMENTS, middle, control)
        assert control.should_training_stop
