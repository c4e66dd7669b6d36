"""Real clients: the official ``openai`` package and our own ``infer --engine server``, on the tiny model."""

import asyncio
import base64
import json

import pytest
from commands import infer
from stand_in import Running, data_url

from gpt4scene.files import journal
from gpt4scene.serve import images

decode = images._content
openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with the tiny model, and a server around it."""
    from gpt4scene.demo.tiny_model import build
    from gpt4scene.serve import run
    from gpt4scene.serve.arguments import ServeArguments

    folder = build(tmp_path_factory.mktemp("tiny") / "model")
    arguments = ServeArguments(model=str(folder), image_resolution=112, served_name="room", branch_limit=16)
    loaded = run.load(arguments, arguments.branch_limit)
    assert loaded.fingerprint.startswith("gpt4scene-")
    bounds = vars(run.bounds_of(arguments, loaded.context))
    server = Running(loaded.scheduler, tmp_path_factory.mktemp("images"), "secret", encoder=loaded.encoder, **bounds)
    yield folder, server
    server.close()


@pytest.fixture(scope="module")
def client(tiny):
    with openai.OpenAI(base_url=tiny[1].url, api_key="secret", max_retries=0) as found:
        yield found


def image_url(seed):
    return data_url(seed, (112, 84))


def messages(text, images=()):
    content = [{"type": "image_url", "image_url": {"url": image}} for image in images]
    content.append({"type": "text", "text": text})
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]


def test_the_official_client_gets_the_same_answer_whole_and_in_pieces(tiny, client):
    asked = {"model": "room", "messages": messages("What is it?", [image_url(1)]), "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    choice = whole.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    assert whole.usage.completion_tokens == len(choice.logprobs.content)
    for entry in choice.logprobs.content:
        assert entry.logprob == max(one.logprob for one in entry.top_logprobs) <= 0
        assert len(entry.top_logprobs) == 3
    pieces = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == choice.message.content
    usage = pieces[-1].usage
    assert usage.prompt_tokens_details.cached_tokens > 0, "the prefix was kept"
    assert usage.completion_tokens == whole.usage.completion_tokens
    assert usage.prompt_tokens == whole.usage.prompt_tokens


def test_samples_differ_and_come_again_with_their_seed(client):
    asked = {"model": "room", "messages": messages("What is it?"), "max_tokens": 8, "n": 6, "seed": 3}
    first, again = (client.chat.completions.create(**asked, temperature=1.5) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices] and len(set(texts)) > 1
    assert [choice.index for choice in first.choices] == list(range(6))
    other = client.chat.completions.create(**asked | {"seed": 4}, temperature=1.5)
    assert [choice.message.content for choice in other.choices] != texts


def test_errors_of_the_official_client_are_of_the_right_kind(tiny, client):
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="room", messages=messages("a"), frequency_penalty=1)
    assert wrong.value.param == "frequency_penalty"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=messages("a"))
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=tiny[1].url, api_key="wrong", max_retries=0).models.list()
    assert [model.id for model in client.models.list()] == ["room"]


def test_many_async_clients_join_in_rows(tiny):
    async def ask_all():
        async with openai.AsyncOpenAI(base_url=tiny[1].url, api_key="secret") as client:
            rooms = [[image_url(number)] for number in (10, 11)]
            asked = [
                client.chat.completions.create(
                    model="room", messages=messages(f"Object {number}?", rooms[number % 2]), max_tokens=6, temperature=0
                )
                for number in range(12)
            ]
            return await asyncio.gather(*asked)

    before = tiny[1].metric("gpt4scene_prefix_misses_total")
    found = asyncio.run(ask_all())
    assert len(found) == 12 and all(reply.usage.completion_tokens <= 6 for reply in found)
    assert tiny[1].metric("gpt4scene_prefix_misses_total") - before == 2, "each room is computed once"
    alone = asyncio.run(ask_all())
    assert [reply.choices[0].message.content for reply in alone] == [
        reply.choices[0].message.content for reply in found
    ]


def write_annotation(folder):
    """Two rooms of three images, and seven questions of two tasks about each."""
    (folder / "images").mkdir(parents=True)
    listed = {}
    for number, room in enumerate("ab"):
        listed[room] = [f"images/{room}{view}.png" for view in range(3)]
        for view, name in enumerate(listed[room]):
            size = (84, 56) if view else (112, 84)
            content = data_url(10 * number + view, size).partition(",")[2]
            (folder / name).write_bytes(base64.b64decode(content))
    (folder / "selected_images_mark_3D_val_32.json").write_text(json.dumps(listed))
    rows = [
        {"scene_id": room, "obj_id": 1, "prompt": f"What is object {number}?", "ref_captions": ["a chair"]}
        for room in "ab"
        for number in range(7)
    ]
    for task in ("scanqa", "sqa3d"):
        (folder / f"{task}_val.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.slow
def test_infer_through_the_server_equals_infer_here(tiny, tmp_path, monkeypatch, capsys):
    folder, server = tiny
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    annotation = write_annotation(tmp_path / "annotation")
    common = [f"--annotation_dir={annotation}", "--image_resolution=112", "--max_new_tokens=8"]
    assert infer([*common, f"--model={folder}", f"--output_dir={tmp_path / 'here'}"]) == 0
    decoded, received = server.chat.images.decoded, []
    monkeypatch.setattr(images, "_content", lambda *words: received.append(words) or decode(*words))
    hits, misses = (server.metric(f"gpt4scene_prefix_{name}_total") for name in ("hits", "misses"))
    served = [*common, "--model=room", "--engine=server", f"--base_url={server.url}"]
    assert infer([*served, f"--output_dir={tmp_path / 'there'}"]) == 0, capsys.readouterr().err
    for task in ("scanqa", "sqa3d"):
        here, there = (list(journal.ordered_rows(tmp_path / name, task)) for name in ("here", "there"))
        assert len(here) == 14
        assert [row["pred"] for row in there] == [row["pred"] for row in here]
        assert [row["finish_reason"] for row in there] == [row["finish_reason"] for row in here]
    assert server.chat.images.decoded - decoded == len(received) == 6, "images travel once a room"
    assert server.metric("gpt4scene_prefix_misses_total") - misses == 2, "a room is computed once for both tasks"
    assert server.metric("gpt4scene_prefix_hits_total") - hits >= 2 * 14 - 2
    assert server.idle()
