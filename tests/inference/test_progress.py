import io
import sys

from gpt4scene import talk
from gpt4scene.inference import progress
from gpt4scene.inference.progress import Progress, duration


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def monotonic(self):
        return self.now


def test_plain_lines_are_rare_and_the_last_one_is_there(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.delenv(talk.VARIABLE, raising=False)
    for level in (None, talk.QUIET):
        with talk.level(level):
            shown = Progress(4, 2)
            for step in range(4):
                clock.now += 6
                shown.answer()
                if step % 2:
                    shown.scene()
        assert capsys.readouterr().err.splitlines() == (
            []
            if level
            else ["scene 1 of 2, 2 of 4 answers, 12 s left", "scene 2 of 2, 4 of 4 answers, answered in 24 s"]
        )


def test_a_terminal_gets_a_bar_and_the_last_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    clock, terminal = Clock(), Terminal()
    for module in (progress, progress.progress):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    shown = Progress(2, 2)
    for _ in range(2):
        clock.now += 6
        shown.answer()
        shown.scene()
    shown.close()
    assert "scene 2 of 2" in terminal.getvalue() and "2/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("scene 2 of 2, 2 of 2 answers, answered in 12 s\n")


def test_durations_read_well():
    assert [duration(s) for s in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]
