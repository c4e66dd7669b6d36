"""Progress: silent for short work and under --quiet, lines where there is no terminal, a bar where there is one."""

import io
import sys

import pytest

from gpt4scene import progress, talk


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.delenv(talk.VARIABLE, raising=False)
    return made


def work(clock, number, seconds, total=None):
    for item in progress.track(range(number), "scenes", total):
        clock.now += seconds
        yield item


def test_long_work_says_lines_at_a_tenth_or_after_half_a_minute(clock, capsys):
    assert list(work(clock, 20, 2.0)) == list(range(20))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scenes: 2 of 20, 36 s left" and lines[-1] == "scenes: 20 of 20" and len(lines) == 10
    list(work(clock, 1000, 1.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scenes: 30 of 1,000, 16 min left" and len(lines) == 33


def test_short_work_and_quiet_work_say_nothing(clock, capsys):
    list(work(clock, 100, 0.01))
    with talk.level(talk.QUIET):
        list(work(clock, 100, 10))
    assert capsys.readouterr().err == ""


def test_what_was_done_before_does_not_count_as_speed(clock):
    with progress.Progress("answers", 100, start=90) as answers:
        assert answers.left(0.0) is None
        clock.now = 10
        answers.advance(5)
        assert answers.left(10.0) == 10.0


def test_a_number_that_is_not_known_shows_no_time(clock, capsys):
    list(progress.track(iter(work(clock, 3, 40)), "files"))
    assert capsys.readouterr().err.splitlines()[0] == "files: 1"


def test_a_terminal_gets_a_bar_that_goes_away_and_keeps_results_apart(clock, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.Progress("scenes", 4) as scenes:
        for number in range(4):
            clock.now += 2
            scenes.advance(more="a room")
            print(f"scene{number}")
            talk.warning("no boxes")
        assert scenes._bar is not None
    drawn = terminal.getvalue()
    assert "scenes" in drawn and "4/4" in drawn and "a room" in drawn and drawn.count("warning: no boxes") == 4
    assert capsys.readouterr().out.split() == [f"scene{number}" for number in range(4)]
    monkeypatch.setenv("TERM", "dumb")
    assert not talk.can_redraw()
