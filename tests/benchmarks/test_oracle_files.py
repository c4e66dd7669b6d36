"""The reference rows, as they lie there, give the public scorers' figures: no conversion, no call but the command's."""

import json
import math

import pytest

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_files

TASKS = ("vsibench", "revsi", "mmsi", "mindcube", "viewspatial", "sparbench")
LOOSE = {"spatial_mllm": 1e-6}
"""Public scorers that count in float32."""


def same(found, expected, relative):
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], relative) for key in expected)
    if isinstance(expected, str):
        return found == expected or (expected == "NaN" and math.isnan(found))
    return math.isclose(found, expected, rel_tol=relative, abs_tol=0)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_files_of_reference_rows_are_scored_as_they_are(spatial_oracle, task):
    folder = spatial_oracle / task
    expected = json.loads((folder / "expected.json").read_text())["variants"]
    rules = [name for name in BENCHMARKS[task].rule_names if name in expected]
    assert len(rules) > 1
    for name in rules:
        figures = expected[name]["figures"].get("all", {})
        report = score_files(folder / "predictions.jsonl", folder / "questions.jsonl", task, name)
        assert report.counts["missing questions"] == 0
        if figures and "raises" not in figures:
            assert report.public.keys() == figures.keys(), name
            for figure, value in figures.items():
                assert same(report.public[figure], value, LOOSE.get(name, 1e-12)), (name, figure)
