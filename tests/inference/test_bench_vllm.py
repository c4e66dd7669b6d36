"""The bench beside vLLM: what its lines say, and a small run where an interpreter with vLLM is named."""

import argparse
import json
import os
import subprocess
import sys

import pytest


def repeat(order, cold, warm, texts=("a", "b")):
    return {
        "count": 2,
        "order": order,
        "cold_s": cold,
        "warm_s": warm,
        "cold_texts": list(texts),
        "warm_texts": ["c", "d"],
    }


@pytest.fixture
def lines_of(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "scripts" / "bench"))
    import beside_vllm

    return beside_vllm.lines_of


@pytest.fixture
def from_infer(lines_of):
    import beside_vllm

    return beside_vllm.from_infer


def test_the_faster_order_of_the_other_side_counts_and_answers_are_compared(lines_of):
    ours = [repeat("ours", 1.0, 0.5), repeat("ours", 1.0, 0.5)]
    theirs = [repeat("first alone", 4.0, 1.0), repeat("together", 3.0, 2.0), repeat("together", 3.0, 2.0)]
    cold, warm = lines_of("chat", theirs, ours, exact=True)
    assert (cold["work"], cold["usual_s"], cold["ratio"], cold["order"]) == ("chat cold", 3.0, 3.0, "together")
    assert (warm["work"], warm["usual_s"], warm["ratio"], warm["order"]) == ("chat warm", 1.0, 2.0, "first alone")
    assert cold["equal"] and cold["equal_answers"] == 2
    other = [*theirs, repeat("together", 3.0, 2.0, ("a", "x"))]
    assert [line["equal"] for line in lines_of("chat", other, ours, exact=True)] == [False, True]
    near = lines_of("chat", other, ours, exact=False)[0]
    assert near["equal"] and near["equal_answers"] == 1, "in bfloat16 near ties may fall the other way"


@pytest.mark.parametrize("beside", ["vllm=nowhere/python", "sglang=python", "vllm"])
def test_an_interpreter_that_is_not_there_is_named(from_infer, capsys, beside):
    with pytest.raises(SystemExit):
        from_infer(argparse.ArgumentParser(), argparse.Namespace(beside=beside))
    assert f"--beside is vllm=PYTHON with an interpreter that has vLLM, not '{beside}'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_small_run_beside_vllm(root, tmp_path):
    python = os.environ.get("GPT4SCENE_VLLM_PYTHON")
    if not python:
        pytest.skip("GPT4SCENE_VLLM_PYTHON names no interpreter that has vLLM")
    out = tmp_path / "figures.json"
    script = [sys.executable, root / "scripts" / "bench" / "infer.py", "--small", "--beside", f"vllm={python}"]
    done = subprocess.run([*script, "--json", out], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(out.read_text())
    assert "vllm's vllm" in report["hardware"]
    works = {(line["work"], line["questions"]) for line in report["results"]}
    assert works == {(f"{way} {when}", n) for way in ("chat", "http") for when in ("cold", "warm") for n in (2, 6)}
    assert all(line["equal"] for line in report["results"])
