"""Signatures: stable under order, changed by whatever changes figures, and never compared unseen."""

import json

import pytest
from commands import score as main
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.references import read_references
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder, score_folders
from gpt4scene.benchmarks.signature import (
    Signature,
    boxes_hash,
    check_comparable,
    content_hash,
    differing,
    parse,
    questions_hash,
    signature_of,
    split_named,
)
from gpt4scene.benchmarks.tables import compare
from gpt4scene.errors import DataError
from gpt4scene.files.answers import read_row
from gpt4scene.metrics import texts as text
from gpt4scene.types import Question

NEEDS = ("ref_captions", "type_info")
names = st.text("abc", min_size=1, max_size=5)
plain = st.text(max_size=12)


@given(st.dictionaries(names, plain, min_size=1))
def test_a_line_reads_back(parts):
    line = str(Signature(parts))
    assert "\n" not in line and parse(line) == Signature(parts)


@pytest.mark.parametrize("line", ["", "gpt4scene", "sacrebleu|a:b", "gpt4scene|task", "gpt4scene|:x"])
def test_what_is_no_signature_is_refused(line):
    with pytest.raises(DataError, match="is no signature; one starts as gpt4scene.task:NAME"):
        parse(line)


def test_answered_questions_may_differ():
    first, second = "gpt4scene|task:a|answered:1/2|v:1", "gpt4scene|task:a|answered:2/2|judge:x|v:1"
    assert differing(first, second) == {"judge": ("none", "x")}
    assert differing(first, second, but=()) == {"answered": ("1/2", "2/2"), "judge": ("none", "x")}


questions = st.lists(
    st.builds(
        Question,
        task=st.just("t"),
        index=st.just(0),
        scene_id=names,
        prompt=names,
        qid=st.one_of(st.none(), st.integers(1, 9)),
        ref_captions=st.lists(names, min_size=1, max_size=2).map(tuple),
        type_info=st.integers(0, 5),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50)
@given(questions, st.randoms(use_true_random=False))
def test_the_order_of_questions_changes_nothing(asked, shuffle):
    mixed = asked.copy()
    shuffle.shuffle(mixed)
    assert questions_hash(mixed, NEEDS) == questions_hash(asked, NEEDS)


@settings(max_examples=50)
@given(questions, st.data())
def test_any_change_of_one_question_changes_the_hash(asked, data):
    from dataclasses import replace

    place = data.draw(st.integers(0, len(asked) - 1))
    key, value = data.draw(
        st.sampled_from([("scene_id", "z"), ("prompt", "z"), ("qid", 77), ("ref_captions", ("z",)), ("type_info", 9)])
    )
    changed = [*asked[:place], replace(asked[place], **{key: value}), *asked[place + 1 :]]
    assert questions_hash(changed, NEEDS) != questions_hash(asked, NEEDS)
    assert questions_hash(asked[:-1], NEEDS) != questions_hash(asked, NEEDS)


def test_the_form_of_questions_changes_nothing():
    """Numbers as texts, references in another order, marks of images, composed letters: one question."""
    one = Question("t", 0, "s", "What is  it?", qid=7, ref_captions=("é", "b"), type_info=3)
    row = {"scene_id": "s", "prompt": "<image>\nWhat is it?", "qid": "7", "ref_captions": ["b", "e\u0301"], "pred": "x"}
    two = read_row({**row, "type_info": 3.0, "gt_id": 5}, "row")
    assert questions_hash([one], NEEDS) == questions_hash([two], NEEDS)
    unnamed = [Question("t", 0, "s", "p", qid=qid, ref_captions=("a",), type_info=0) for qid in (None, "", 0)]
    assert len({questions_hash([each], NEEDS) for each in unnamed}) == 1


def test_official_files_in_any_form_and_order_are_the_same_questions(tmp_path):
    rows = [
        {"scene_id": "s", "question_id": f"q{n}", "question": f"What is {n}?", "answers": ["a", str(n)]}
        for n in range(3)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    found = [read_references("scanqa", [tmp_path / name]).questions for name in ("a.json", "b.jsonl")]
    assert len({questions_hash(asked, NEEDS[:1]) for asked in found}) == 1


def test_truths_that_no_score_needs_change_nothing():
    first, second = (Question("t", 0, "s", "p", obj_id=target, ref_captions=("a",)) for target in (1, 2))
    assert questions_hash([first], ("ref_captions",)) == questions_hash([second], ("ref_captions",))
    assert questions_hash([first], ("gt_id",)) != questions_hash([second], ("gt_id",))


@pytest.mark.parametrize(
    ("task", "name", "split"),
    [
        ("scanqa", "scanqa_val.json", "val"),
        ("scanrefer", "scanrefer_mask3d_val.json", "val"),
        ("scanrefer", "scanrefer_val.json", "val"),
        ("scanqa", "ScanQA_v1.0_test.json", "test"),
        ("sqa3d", "v1_balanced_questions_test_scannetv2.json", "test"),
        ("scanqa", "my questions.json", "unknown"),
    ],
)
def test_splits(tmp_path, task, name, split):
    assert split_named(tmp_path / name, BENCHMARKS[task]) == split


@pytest.fixture
def boxes(tmp_path):
    """Write boxes of scenes s and t, the first as given."""
    torch = pytest.importorskip("torch")

    def write(folder, first=1.0, **more):
        (tmp_path / folder).mkdir()
        scenes = {"s": [[first, 0, 0, 1, 1, 1]], "t": [[0.0, 0, 0, 1, 1, 1]], **more}
        for name in ("scannet_mask3d", "scannet"):
            content = {scene: {"objects": ["x"], "locs": torch.tensor(locs)} for scene, locs in scenes.items()}
            torch.save(content, tmp_path / folder / f"{name}_val_attributes.pt")
        return Annotation(tmp_path / folder)

    return write


def test_boxes_of_the_scenes_asked_about_count(boxes):
    scanrefer = BENCHMARKS["scanrefer"]
    first, moved = boxes("first"), boxes("moved", first=1.5)
    more = boxes("more", u=[[0.0, 0, 0, 2, 2, 2]])
    assert boxes_hash(scanrefer, first, "st") == boxes_hash(scanrefer, more, "tss")
    assert boxes_hash(scanrefer, first, "st") != boxes_hash(scanrefer, moved, "st")
    assert boxes_hash(scanrefer, first, "t") == boxes_hash(scanrefer, moved, "t") != boxes_hash(scanrefer, first, "st")
    assert boxes_hash(BENCHMARKS["scanqa"], first, "st") == boxes_hash(scanrefer, Annotation(None), "st") == "none"


def test_content_does_not_depend_on_the_order_of_keys():
    assert content_hash({"a": [1], "b": [2]}) == content_hash({"b": [2], "a": [1]}) != content_hash({"a": [1]})


QUESTIONS = [
    {
        "scene_id": f"scene000{n}_00",
        "obj_id": 0,
        "qid": n + 1,
        "prompt": f"What is {n}?",
        "ref_captions": [f"thing {n}"],
    }
    for n in range(4)
]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """ScanQA's questions, and answers to all and to some of them."""
    monkeypatch.setattr(text, "find_java", lambda: None)
    for name in ("annotation", "all", "some"):
        (tmp_path / name).mkdir()
    (tmp_path / "annotation" / "scanqa_val.json").write_text(json.dumps(QUESTIONS))
    rows = [{**row, "pred": row["ref_captions"][0]} for row in QUESTIONS]
    (tmp_path / "all" / "scanqa.json").write_text(json.dumps(rows))
    (tmp_path / "some" / "scanqa.json").write_text(json.dumps(rows[2:]))
    return tmp_path


def test_a_report_says_what_it_stands_on(folders):
    found = parse(score_folder(folders / "some", folders / "annotation")["scanqa"].signature).parts
    hashed = questions_hash(
        [Question("scanqa", n, type_info=0, **_asked(row)) for n, row in enumerate(QUESTIONS)], NEEDS[:1]
    )
    assert found == {
        **{"task": "scanqa", "split": "val", "rules": "gpt4scene", "boxes": "none", "tok": "ptb-own", "meteor": "no"},
        **{"metrics": "all", "answered": "2/4", "questions": hashed, "v": "0.1.0"},
    }
    raw = score_folder(folders / "some", folders / "annotation", rules="raw")["scanqa"].signature
    assert differing(str(Signature(found)), raw) == {"rules": ("gpt4scene", "raw"), "tok": ("ptb-own", "spaces")}


def _asked(row):
    return {
        **{key: row[key] for key in ("scene_id", "obj_id", "qid", "prompt")},
        "ref_captions": tuple(row["ref_captions"]),
    }


def test_predictions_that_carry_their_questions_give_the_hash_of_the_question_file(folders):
    with_file = score_folder(folders / "all", folders / "annotation")["scanqa"].signature
    (folders / "annotation" / "scanqa_val.json").unlink()
    without = score_folder(folders / "all", folders / "annotation")["scanqa"].signature
    assert differing(with_file, without, but=()) == {"split": ("val", "unknown"), "answered": ("4/4", "4/?")}


def test_the_signature_stands_under_tables_and_in_every_json(folders, capsys):
    flags = ["--predictions", str(folders / "all"), "--annotation_dir", str(folders / "annotation")]
    places = {name: folders / f"{name}.json" for name in ("json", "details", "gain")}
    assert main([*flags, "--json", str(places["json"]), "--details", str(places["details"])]) == 0
    line = score_folder(folders / "all", folders / "annotation")["scanqa"].signature
    assert f"signature: {line}" in capsys.readouterr().out
    assert json.loads(places["json"].read_text())["scanqa"]["signature"] == line
    details = json.loads(places["details"].read_text())["scanqa"]
    assert (details["signature"], details["rules"], details["public"]) == (line, "gpt4scene", {})
    numbers = {name: value for name, value in json.loads(places["json"].read_text())["scanqa"].items()}
    assert all(isinstance(value, int | float) for name, value in numbers.items() if name != "signature")
    pair = [str(folders / "all"), str(folders / "some")]
    assert main([*flags[2:], "--compare", *pair, "--json", str(places["gain"])]) == 0
    said = capsys.readouterr().out
    assert f"signature: first: {line}" in said and "answered:2/4" in said
    assert "the runs differ" not in said
    signed = json.loads(places["gain"].read_text())["scanqa"]["signature"]
    assert signed["first"] == line and parse(signed["second"]).parts["answered"] == "2/4"
    assert main([*flags, "--json", str(places["json"])]) == 0, "our own file may be written again"


def test_runs_on_other_questions_are_compared_with_a_warning(folders):
    (folders / "other").mkdir()
    changed = [{**row, "ref_captions": ["x"]} if n == 0 else row for n, row in enumerate(QUESTIONS)]
    (folders / "other" / "scanqa_val.json").write_text(json.dumps(changed))
    (folders / "third").mkdir()
    rows = json.loads((folders / "all" / "scanqa.json").read_text())[1:]
    (folders / "third" / "scanqa.json").write_text(json.dumps(rows))
    places = {"a": (folders / "all", folders / "annotation"), "b": (folders / "third", folders / "other")}
    reports = score_folders(places)
    (warning,) = check_comparable(reports["a"]["scanqa"], reports["b"]["scanqa"])
    assert warning.startswith("the runs differ in questions (")
    assert warning.endswith("): rows that both ask are compared, each by the truth of its own run")
    assert compare(reports["a"], reports["b"])["scanqa"]["EM1"].rows == 3


def test_runs_under_other_rules_are_not_compared(folders):
    first = score_folder(folders / "all", folders / "annotation")
    second = score_folder(folders / "all", folders / "annotation", rules="raw")
    with pytest.raises(DataError, match="counted by the rules 'gpt4scene' and the second by 'raw'; count both"):
        compare(first, second)


@pytest.mark.parametrize(
    ("computed", "said"), [((), "em"), (("Bleu_4",), "bleu"), (("Bleu_4", "ROUGE_L", "CIDEr"), "all")]
)
def test_metrics_that_were_left_out_are_seen(folders, computed, said):
    report = score_folder(folders / "all", folders / "annotation")["scanqa"]
    texts = {"": text.TextScores(dict.fromkeys(computed, 0.0), {})}
    known = {"split": "val", "questions": "0", "boxes": "none"}
    assert signature_of(BENCHMARKS["scanqa"], report, texts, **known).parts["metrics"] == said
    assert signature_of(BENCHMARKS["scanrefer"], report, {}, **known).parts["metrics"] == "all"


def test_what_a_report_adds_is_part_of_its_signature(oracle):
    found = score_folder(oracle / "predictions", oracle / "annotation", ["scanrefer", "multi3dref"])
    parts = parse(found["scanrefer"].signature).parts
    assert parts["boxes"].startswith("proposals-") and len(parts["lookup"]) == 8
    assert (parts["tok"], parts["meteor"]) == ("none", "no")
    assert parse(found["multi3dref"].signature).parts["boxes"] == parts["boxes"]
