"""One and the same set of answers gives the same figures in every form in which people write it."""

import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt4scene.benchmarks.score import score_answers, score_files, score_folder

pyarrow = pytest.importorskip("pyarrow")

SCANQA = [
    {"scene_id": f"s{n % 2}", "question_id": f"val-{n}", "question": f"What is {n}?", "answers": ["chair", "a, b"]}
    for n in range(4)
]
VSI = [
    {
        **{"id": 10 + n, "dataset": "scannet", "scene_name": f"s{n % 2}", "question": f"How many of {n}?"},
        "question_type": ("object_counting", "object_rel_distance")[n % 2],
        "options": (None, ["A. lamp", "B. bed"])[n % 2],
        "ground_truth": ("4", "B")[n % 2],
    }
    for n in range(4)
]
SCANREFER = [
    {"scene_id": "s0", "object_id": str(n), "object_name": "x", "ann_id": str(n), "description": f"thing {n}"}
    for n in range(4)
]
BOXES = {"s0": {str(n): [n, 0, 0, 1, 1, 1] for n in range(4)}}
TASKS = {
    "scanqa": (SCANQA, [row["question_id"] for row in SCANQA]),
    "vsibench": (VSI, [row["id"] for row in VSI]),
    "scanrefer": (SCANREFER, [f"s0_{n}_{n}" for n in range(4)]),
}

LETTERS = st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",))
TEXTS = st.one_of(
    st.sampled_from(["chair", "A, B", 'say "no"', "two\nlines", "a\tb", "4", "4.0", "B", ""]), st.text(LETTERS)
)
BOX = st.tuples(*[st.floats(0, 4)] * 3, *[st.floats(0.5, 2)] * 3).map(list)


def table(path, rows, delimiter):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def written(value):
    return json.dumps(value) if isinstance(value, list) else value


def forms(folder, qids, answers):
    """Write ``answers`` (place -> value) in every form; return the files."""
    by_id = {qids[place]: value for place, value in answers.items()}
    rows = [{"question_id": qid, "prediction": value} for qid, value in by_id.items()]
    placed = [{"prediction": value, "index": place, "extra": "x"} for place, value in answers.items()]
    cells = [{"qid": qid, "response": written(value)} for qid, value in by_id.items()]
    (folder / "object.json").write_text(json.dumps(by_id), encoding="utf-8")
    (folder / "list.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")
    (folder / "escaped.json").write_text(json.dumps(placed, ensure_ascii=False), encoding="utf-8")
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in placed), encoding="utf-8")
    table(folder / "table.csv", cells, ",")
    table(folder / "table.tsv", cells[::-1], "\t")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    return sorted(folder.iterdir()), by_id


def figures(report):
    return report.scores, dict(report.counts), dict(report.public), report.signature


def check(tmp_path_factory, task, answers):
    import pyarrow.parquet  # noqa: F401

    folder = tmp_path_factory.mktemp("forms")
    official, qids = TASKS[task]
    more = {"metrics": "em"} | ({"boxes": BOXES} if task == "scanrefer" else {})
    (folder / "official.json").write_text(json.dumps(official), encoding="utf-8")
    (folder / "mine").mkdir()
    files, by_id = forms(folder / "mine", qids, answers)
    expected = figures(score_answers(by_id, official, task, **more))
    for file in files:
        found = figures(score_files(file, folder / "official.json", task, **more))
        assert found[:3] == expected[:3], file.name
        assert found[3].replace("split:unknown", "split:?") == expected[3].replace("split:unknown", "split:?")
    assert len(files) == 7


SLOW = settings(max_examples=12, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@SLOW
@given(st.sampled_from(["scanqa", "vsibench"]), st.dictionaries(st.integers(0, 3), TEXTS, min_size=1))
def test_texts_in_every_form_give_the_same_figures(tmp_path_factory, task, answers):
    check(tmp_path_factory, task, answers)


@pytest.mark.slow
@SLOW
@given(
    st.one_of(
        st.dictionaries(st.integers(0, 3), st.integers(0, 3), min_size=1),
        st.dictionaries(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=3), min_size=1),
        st.dictionaries(st.integers(0, 3), BOX, min_size=1),
        st.dictionaries(st.integers(0, 3), st.lists(BOX, min_size=1, max_size=2), min_size=1),
    )
)
def test_objects_in_every_form_give_the_same_figures(tmp_path_factory, answers):
    check(tmp_path_factory, "scanrefer", answers)


def test_the_public_form_and_a_journal_give_the_figures_of_answers_by_id(tmp_path):
    official = tmp_path / "official.json"
    official.write_text(json.dumps(SCANQA))
    texts = ["Chair.", "a b", "", "four"]
    by_id = score_answers({f"val-{n}": text for n, text in enumerate(texts)}, SCANQA, "scanqa", metrics="em")
    public = [{"scene_id": f"s{n % 2}", "qid": f"val-{n}", "pred": text} for n, text in enumerate(texts)]
    journal = [row | {"task": "scanqa", "index": n} for n, row in enumerate(public)]
    (tmp_path / "scanqa.json").write_text(json.dumps(public))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scanqa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in journal))
    for place in (tmp_path / "scanqa.json", tmp_path / "run"):
        report = score_folder(place, None, "scanqa", references=f"scanqa={official}", metrics="em")["scanqa"]
        assert figures(report) == figures(by_id), place
    assert figures(score_answers(public, SCANQA, "scanqa", metrics="em")) == figures(by_id)
