"""A model that thinks, from rows with thoughts to figures: trained, asked while it learns, asked again, scored."""

import json

import pytest

from gpt4scene.cli import main
from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.families.tiny import chatml
from gpt4scene.files import journal

ANSWERS = {"What colour is it?": "Red.", "How many lamps are there?": "Two."}
THOUGHT = "<think>\nI look at the marks.\n</think>\n\n"


@pytest.fixture
def rooms(tmp_path, workshop):
    """Rows with thoughts, each twice, and a question file about the same room."""
    images = [str(workshop / f"data/scene0_{index}.png") for index in range(2)]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"<image><image>{question}"},
                {"role": "assistant", "content": THOUGHT + answer},
            ],
            "images": images,
            "task": "scanqa",
        }
        for question, answer in ANSWERS.items()
    ] * 2
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "images": "images"}
    entry = {"file_name": "rows.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    asked = [
        {"scene_id": "room", "obj_id": 0, "prompt": question, "ref_captions": [answer.rstrip(".").lower()]}
        for question, answer in ANSWERS.items()
    ]
    files = {"data/rows.json": rows, "data/dataset_info.json": {"thoughts": entry}, "asked/scanqa_val.json": asked}
    files |= {"asked/selected_images_mark_3D_val_32.json": {"room": images}}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


@pytest.mark.slow
def test_thoughts_are_learned_and_scores_are_those_of_answers(train, rooms):
    shape = TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    model = build(rooms / "model", "qwen3_vl", shape)
    (model / "chat_template.jinja").write_text(chatml("", thinks=True))
    keys = {"model_name_or_path": model, "dataset": "thoughts", "dataset_dir": rooms / "data", "template": "qwen3_vl"}
    keys |= {"val_size": 1, "val_split": "row", "eval_generate": 1, "eval_generate_tokens": 40, "feature_cache": "off"}
    train(rooms / "run", **keys, num_train_epochs=60, learning_rate=5e-3)
    figures = json.loads((rooms / "run/eval_results.json").read_text())
    assert figures["eval_exact_match"] == figures["eval_scanqa_EM1"] == 1.0
    (line,) = (rooms / "run/eval_answers.jsonl").read_text().split("\n")[:-1]
    assert json.loads(line)["answer"].startswith("<think>\nI look at the marks.")
    common = ["--annotation_dir", str(rooms / "asked"), "--tasks", "scanqa"]
    words = ["--model", str(rooms / "run"), "--output_dir", str(rooms / "out"), "--image_resolution", "56"]
    assert main(["infer", *common, *words, "--max_new_tokens", "40"]) == 0
    said = [row["pred"] for row in journal.ordered_rows(rooms / "out", "scanqa")]
    assert said == [THOUGHT + answer for answer in ANSWERS.values()]
    scored = rooms / "scores.json"
    assert main(["score", *common, "--predictions", str(rooms / "out"), "--metrics", "em", "--json", str(scored)]) == 0
    assert json.loads(scored.read_text())["scanqa"]["EM1"] == 1.0
