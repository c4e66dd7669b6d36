import io

from gpt4scene.inference import progress
from gpt4scene.inference.progress import Progress, duration


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def monotonic(self):
        return self.now


def test_plain_lines_are_rare_and_the_last_one_is_there(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    stream = io.StringIO()
    shown = Progress(4, 2, stream)
    for step in range(4):
        clock.now += 6
        shown.answer()
        if step % 2:
            shown.scene()
    assert stream.getvalue().splitlines() == [
        "scene 1 of 2, 2 of 4 answers, 12 s left",
        "scene 2 of 2, 4 of 4 answers, answered in 24 s",
    ]


def test_durations_read_well():
    assert [duration(s) for s in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]
