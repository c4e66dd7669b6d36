from gpt4scene.files.run_folder import LogLine
from gpt4scene.report.curve import MOST_COLUMNS, MOST_POINTS, TABLED, draw, number, spread, thinned, ticks
from gpt4scene.report.run_charts import curves, loss_curve


def places(line):
    return [tuple(map(float, point.split(","))) for point in line.points.split()]


def test_curve_falls_from_left_to_right():
    curve = draw("Loss", {"training": [(5, 4.0), (100, 1.0)]})
    (line,) = curve.lines
    (x0, y0), (x1, y1) = places(line)
    assert x0 < x1 == curve.right and curve.top == y0 < y1 < curve.bottom
    assert (curve.first, curve.last, line.last) == (4.0, 1.0, "1")
    assert draw("Loss", {"training": []}) is None


def test_values_below_zero_stay_inside():
    curve = draw("Rewards", {"chosen": [(1, -3.0), (2, 2.0)], "rejected": [(1, -4.5)]})
    ys = [y for line in curve.lines for _, y in places(line)]
    assert all(curve.top <= y <= curve.bottom for y in ys)
    zero = next(tick.at for tick in curve.values if tick.text == "0")
    assert places(curve.lines[0])[1][1] < zero < places(curve.lines[0])[0][1]
    assert curve.lines[1].single is not None, "one point is a dot, which a line would not show"


def test_many_lines_are_told_apart_and_many_points_joined():
    long = [(step, float(step % 2)) for step in range(1, 10 * MOST_POINTS + 2)]
    curve = draw("Loss by task", {f"task {number}": long for number in range(24)})
    assert len({line.kind for line in curve.lines}) == 24
    assert len(places(curve.lines[0])) <= MOST_POINTS and curve.joined == 11
    assert thinned([(1, 2.0), (2, 4.0), (3, 9.0)], 2) == [(2, 3.0), (3, 9.0)]
    assert len(curve.columns) == MOST_COLUMNS and sum(one.wide for one in curve.columns) > 400
    assert curve.columns[0].text.startswith("step 1\ntask 0: 1\n")
    head, *rows = curve.table
    assert len(rows) == 24 and len(head) == TABLED + 3 and head[1:3] == ("1", "344") and rows[0][-2:] == ("0", "1")


def test_ticks_are_round_and_cover():
    assert ticks(0, 192, 8) == [0, 25, 50, 75, 100, 125, 150, 175, 200]
    assert ticks(0, 4.07, 5) == [0, 1, 2, 3, 4, 5]
    assert ticks(0, 0.3, 5)[-1] >= 0.3 and ticks(0, 0, 5)[0] == 0
    assert ticks(-4.5, 2, 5) == [-6, -4, -2, 0, 2]
    assert [number(value) for value in (12345.6, 3080.0, 2.88198e-10, 0.04133, -3)] == [
        "12,346",
        "3,080",
        "2.882e-10",
        "0.04133",
        "-3",
    ]
    assert spread(range(10), 4) == [0, 3, 6, 9] and spread([1, 2], 4) == [1, 2]


def test_every_figure_of_a_log_is_on_one_curve():
    figures = ["loss", "lr", "loss_rooms", "loss_words", "tokens_per_second", "data_wait_share", "rewards/chosen"]
    held_out = ["eval_loss", "eval_loss_rooms", "eval_exact_match", "eval_exact_match_rooms", "eval_rewards/margins"]
    log = [LogLine(1, dict.fromkeys(figures, 1.0)), LogLine(1, dict.fromkeys([*held_out, "scanned_EM1"], 0.5))]
    drawn = {one.curve.title: [line.name for line in one.curve.lines] for one in curves(log)}
    assert drawn["Loss"] == ["training", "held-out rows"] and drawn["Loss by task"] == ["rooms", "words"]
    assert drawn["Exact match by task"] == ["rooms"] and drawn["scanned EM1"] == ["scanned_EM1"]
    assert sum(map(len, drawn.values())) == len(figures) + len(held_out) + 1
    assert loss_curve(log).title == "Loss" and loss_curve(log[1:]) is None
