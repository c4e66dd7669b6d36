"""``gpt4scene ask`` with a tiny model: its answer is that of ``infer``, byte for byte."""

import json

import pytest
from chat_scenes import write_scene

from gpt4scene import cli
from gpt4scene.files import journal

QUESTIONS = ("What is beside the sofa?", "Describe <OBJ001>: how it looks and where it stands in the room.")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny model and two prepared scenes."""
    from gpt4scene.demo.tiny_model import build

    folder = tmp_path_factory.mktemp("ask")
    build(folder / "model")
    for name in ("one", "two"):
        write_scene(folder / "scenes", name, side=112)
    return folder


def infer(place):
    """Ask the questions about scene ``two`` with infer; return the answers."""
    annotation = place / "annotation"
    annotation.mkdir()
    rows = [{"scene_id": "two", "prompt": prompt, "ref_captions": ["x"]} for prompt in QUESTIONS]
    (annotation / "scanqa_val.json").write_text(json.dumps(rows))
    images = [
        f"../scenes/{name}" for name in ("images_3D/two/bev.jpg", *(f"images_2D/two/0000{n}.jpg" for n in (0, 1)))
    ]
    (annotation / "selected_images_mark_3D_val_2.json").write_text(json.dumps({"two": images}))
    out = place / "answers"
    words = ["--model", place / "model", "--annotation_dir", annotation, "--output_dir", out, "--max_new_tokens", 24]
    assert cli.main(["infer", *map(str, words), "--keep_empty"]) == 0
    return [row["pred"] for row in journal.ordered_rows(out, "scanqa")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ask_gives_byte_for_byte_the_answer_of_infer(place, capsys):
    from gpt4scene.chat.arguments import AskArguments
    from gpt4scene.chat.ask import ask, the_scene
    from gpt4scene.chat.opening import open_asker

    wanted = infer(place)
    capsys.readouterr()
    scene = the_scene(str(place / "scenes"), "two")
    arguments = AskArguments(
        model=str(place / "model"), scene=str(place / "scenes"), question=QUESTIONS[0], max_new_tokens=24
    )
    asker = open_asker(arguments, print)
    try:
        shown = ["", ""]
        outcomes = []
        for number, text in enumerate(QUESTIONS):
            pieces = []
            outcomes.append(ask(asker, scene, text, arguments, pieces.append))
            shown[number] = "".join(pieces)
    finally:
        asker.close()
    assert [outcome.text for outcome in outcomes] == wanted and any(wanted)
    assert [outcome.answer for outcome in outcomes] == shown
    assert outcomes[0].known_tokens == 0 < outcomes[1].known_tokens < outcomes[1].prompt_tokens
    words = ["--model", str(place / "model"), "--scene", str(place / "scenes"), "--max_new_tokens", "24"]
    capsys.readouterr()
    assert cli.main(["ask", QUESTIONS[0], "--scene_id", "two", *words]) == 0
    said = capsys.readouterr()
    assert said.out.rstrip("\n") == wanted[0].rstrip("\n")
    assert "scene two, 3 images" in said.err.splitlines()[0] and "first word after" in said.err


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--scene", "{scenes}", "What?"], 2, "holds 2 scenes; name one with --scene_id (one, two)"),
        (["--scene", "{scenes}", "--scene_id", "tow", "What?"], 2, "no scene 'tow'"),
        (["--scene", "{scenes}/scenes/one", " "], 2, "the question is empty"),
        (["--scene", "{scenes}/gone", "What?"], 1, "there is no such folder"),
        (["--scene", "{scenes}/scenes/one", "What?", "now"], 2, "'now' stands alone"),
        (["--scene", "{scenes}/scenes/one", "--task", "scan2cap", "the sofa"], 1, "write its number alone"),
        (["--scene", "{scenes}/scenes/one"], 2, "--question is missing"),
    ],
)
def test_wrong_calls_end_before_a_model_is_loaded(tmp_path, capsys, words, status, sentence):
    for name in ("one", "two"):
        write_scene(tmp_path / "scenes", name)
    filled = [word.replace("{scenes}", str(tmp_path / "scenes")) for word in words]
    assert cli.main(["ask", "--model", "gone", *filled]) == status
    assert sentence in capsys.readouterr().err
