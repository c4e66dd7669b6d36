import signal

import pytest

from gpt4scene import cli, signals
from gpt4scene.errors import Stopped
from gpt4scene.training.signals import StopOnSignal


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only value is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("launched", [True, False])
def test_only_a_launcher_passes_signals_on_and_at_once(monkeypatch, clock, launched):
    if launched:
        monkeypatch.setenv("LOCAL_RANK", "0")
    else:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    requests = signals.Requests()
    assert not requests.passed_on()
    clock[0] += 9.9
    assert requests.passed_on() is launched
    clock[0] += 20
    assert not requests.passed_on()


def test_a_training_that_is_stopped_twice_by_one_signal_saves(monkeypatch, clock):
    killed = []
    monkeypatch.setattr("os._exit", killed.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with StopOnSignal() as stop:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):  # deepspeed passes Ctrl-C on as SIGTERM
            signal.raise_signal(number)
        assert not killed and stop.noted == signal.SIGINT
        clock[0] += 10
        signal.raise_signal(signal.SIGTERM)
    assert killed == [128 + signal.SIGTERM]


def test_the_words_about_an_end_are_written_although_the_launcher_passes_its_signal_on(monkeypatch, clock):
    written = []

    def prepares() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            signal.raise_signal(signal.SIGTERM)
            written.append("before the first step")
            raise
        return 0

    def trains() -> int:
        with StopOnSignal() as stop:
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        written.append("after a checkpoint")
        raise Stopped("stopped", stop.noted)

    monkeypatch.setenv("LOCAL_RANK", "0")
    assert [cli.guarded(work) for work in (prepares, trains)] == [143, 143]
    assert written == ["before the first step", "after a checkpoint"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
