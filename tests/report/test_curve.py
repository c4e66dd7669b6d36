import json

from gpt4scene.report.curve import loss_curve, read_log, ticks


def test_log_is_read_without_a_torn_line(tmp_path):
    log = tmp_path / "trainer_log.jsonl"
    lines = [
        {"current_steps": 5, "loss": 2.0},
        {"current_steps": 10, "loss": 1.0},
        {"current_steps": 10, "eval_loss": 3},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"current_st')
    assert read_log(log) == {"loss": [(5.0, 2.0), (10.0, 1.0)], "eval_loss": [(10.0, 3.0)]}
    assert read_log(tmp_path / "none") == {"loss": [], "eval_loss": []}


def test_curve_falls_from_left_to_right():
    curve = loss_curve({"loss": [(5, 4.0), (100, 1.0)], "eval_loss": []})
    (line,) = curve.lines
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.points.split())
    assert x0 < x1 == curve.right and curve.top == y0 < y1 < curve.bottom
    assert (curve.first, curve.last) == (4.0, 1.0)
    assert loss_curve({"loss": [(5, 4.0)], "eval_loss": []}) is None


def test_ticks_are_round_and_cover():
    assert ticks(0, 192, 8) == [0, 25, 50, 75, 100, 125, 150, 175, 200]
    assert ticks(0, 4.07, 5) == [0, 1, 2, 3, 4, 5]
    assert ticks(0, 0.3, 5)[-1] >= 0.3 and ticks(0, 0, 5)[0] == 0
