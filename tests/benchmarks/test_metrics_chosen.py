"""``--metrics`` chooses among the metrics of texts: what is left out is absent and named, what is there is the same."""

import json

import pytest

from gpt4scene.benchmarks.score import score_folder
from gpt4scene.cli import main
from gpt4scene.errors import ConfigError
from gpt4scene.metrics import texts
from gpt4scene.metrics.texts import CHOICES, TEXT_METRICS, TextGroup, TextScorer, chosen_metrics

GROUP = TextGroup(("a red chair", "the table"), (("the red chair", "a chair"), ("a table",)))


@pytest.fixture
def folder(tmp_path):
    rows = [
        {
            "scene_id": "scene0011_00",
            "prompt": "What is red?",
            "pred": "Chair.",
            "ref_captions": ["chair", "red chair"],
        },
        {"scene_id": "scene0015_00", "prompt": "Is it red?", "pred": "no", "ref_captions": ["yes"]},
    ]
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "scanqa.json").write_text(json.dumps(rows))
    (tmp_path / "annotation").mkdir()
    return tmp_path


def own_words(monkeypatch):
    monkeypatch.setattr(texts, "coco_folder", lambda: None)


def test_chosen_metrics_are_those_of_all(monkeypatch):
    own_words(monkeypatch)
    found = {}
    for name, metrics in {"all": TEXT_METRICS, "some": chosen_metrics("rouge,Bleu")}.items():
        with TextScorer(metrics) as scorer:
            scorer.ask({"": GROUP})
            found[name] = scorer.scores()[""]
    assert list(found["some"].scores) == ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L"]
    assert found["some"].scores.items() <= found["all"].scores.items()
    assert found["some"].rows.keys() | found["some"].pooled.keys() == found["some"].scores.keys()
    assert "not computed, since not chosen: METEOR, CIDEr" in found["some"].notes
    assert not any("METEOR:" in note for note in found["some"].notes), "nobody misses what was not asked for"
    assert any("METEOR:" in note for note in found["all"].notes)


def test_exact_match_alone_looks_for_no_java_and_tells_no_words_apart(monkeypatch, folder):
    def never(*arguments):
        raise AssertionError("called")

    for name in ("coco_folder", "find_java", "own_tokens", "java_tokens", "Meteor", "ParaphraseTable"):
        monkeypatch.setattr(texts, name, never)
    report = score_folder(folder / "predictions", folder / "annotation", metrics="em")["scanqa"]
    assert report.scores["EM1"] == 0.5
    assert not set(TEXT_METRICS) & (report.scores.keys() | report.rows.values.keys() | report.rows.pooled.keys())
    assert f"not computed, since not chosen: {', '.join(TEXT_METRICS)}" in report.notes
    assert "|tok:none|meteor:no|" in report.signature


def test_a_metric_without_meteor_starts_none(monkeypatch):
    monkeypatch.setattr(texts, "Meteor", lambda *arguments: pytest.fail("METEOR was started"))
    monkeypatch.setattr(texts, "ParaphraseTable", lambda *arguments: pytest.fail("its table was read"))
    with TextScorer(chosen_metrics("cider")) as scorer:
        scorer.ask({"": GROUP})
        assert list(scorer.scores()[""].scores) == ["CIDEr"]


def test_where_no_figure_is_left_a_warning_says_so(tmp_path, capsys):
    for name in ("annotation", "predictions"):
        (tmp_path / name).mkdir()
    row = {"scene_id": "a", "gt_id": 0, "pred_id": 0, "pred": "a chair", "ref_captions": ["sos a chair . eos"]}
    (tmp_path / "predictions" / "scan2cap.json").write_text(json.dumps([row]))
    (tmp_path / "annotation" / "scan2cap_val_corpus.json").write_text(json.dumps({"a|0": ["sos a chair . eos"]}))
    from gpt4scene.files.annotation import write_attributes

    for name in ("scannet_val_attributes.pt", "scannet_mask3d_val_attributes.pt"):
        write_attributes(
            tmp_path / "annotation" / name, {"a": {"objects": ["chair"], "locs": [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]}}
        )
    words = ["score", "--predictions", str(tmp_path / "predictions"), "--annotation_dir", str(tmp_path / "annotation")]
    assert main([*words, "--metrics", "em"]) == 0
    assert "warning: no figure is left" in capsys.readouterr().out


def test_no_word_chooses_all_and_a_wrong_one_is_named():
    assert chosen_metrics("") == chosen_metrics(" , ") == TEXT_METRICS
    assert chosen_metrics(list(CHOICES)) == TEXT_METRICS
    assert chosen_metrics("em") == ()
    with pytest.raises(ConfigError, match="no metric 'rogue'; did you mean 'rouge'"):
        chosen_metrics("em,rogue")
