import json
import subprocess

import pytest


@pytest.mark.slow
def test_the_study_of_packing_trains_compares_and_goes_on(forked, root, tmp_path):
    questions = {"questions": [], "annotations": []}
    for number in range(40):
        of = {"scene_id": f"scene{number % 4:04d}_00", "question_id": number}
        questions["questions"].append(of | {"situation": "I stand at the door.", "question": f"What is {number}?"})
        questions["annotations"].append(of | {"answers": [{"answer": f"{number % 3}"}]})
    raw = tmp_path / "sqa3d"
    raw.mkdir()
    (raw / "v1_questions.json").write_text(json.dumps({"questions": questions["questions"]}))
    (raw / "v1_annotations.json").write_text(json.dumps({"annotations": questions["annotations"]}))
    script = [forked.python_throughout, root / "scripts/bench/study_packing.py", "--small", "--out", tmp_path / "out"]
    command = [*script, "--sqa3d", raw, "--seeds", "0", "--packing", "1", "4", "--jobs", "2"]
    for turn in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("steps" in done.stderr) == (turn == 0), "finished runs are kept"
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [(line["data"], line["packing"], line["seeds"]) for line in study["lines"]] == [
        *(("rooms", 1, 1), ("rooms", 4, 1)),
        *(("sqa3d", 1, 1), ("sqa3d", 4, 1)),
    ]
    losses = {name: run["held_out_loss"] for name, run in study["runs"].items()}
    assert len(losses) == 4 and losses["rooms-16-1-0"] != losses["rooms-16-4-0"]
    assert all(f"{line['held_out_loss'][0]:.4f}" in done.stdout for line in study["lines"])
    assert (tmp_path / "out" / "study.png").read_bytes().startswith(b"\x89PNG")
