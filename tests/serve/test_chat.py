"""Chat requests from end to end: answers, streams, what is counted, and that nothing is kept of one that ended."""

import json

import pytest
from chat_server import wait_for
from stand_in import WORDS, StandIn, web


def text_of(count):
    return "".join(f"{WORDS[place % len(WORDS)]} " for place in range(count))


class OneByOne(StandIn):
    """Makes tokens once those before have been taken; ``taken(made)`` says so, however busy the machine is."""

    made = 0

    def step(self):
        wait_for(lambda: self.taken(self.made))
        found = super().step()
        self.made += len(found)
        return found


def events(response):
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def texts(pieces, index=0):
    deltas = [choice for piece in pieces for choice in piece["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") for choice in deltas), deltas[-1]["finish_reason"]


def test_an_answer_has_the_form_of_the_api(start, ask, url, body):
    server = start()
    reply = ask(server, body(images=[url(0), url(1)]))
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["object"] == "chat.completion" and found["model"] == "room" and found["id"].startswith("chatcmpl-")
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": text_of(4), "refusal": None}
    assert choice["finish_reason"] == "length" and choice["logprobs"] is None
    usage = found["usage"]
    assert usage["completion_tokens"] == 4 and usage["total_tokens"] == usage["prompt_tokens"] + 4
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    (request,) = server.scheduler.added
    assert request.question.prompt == "<image><image>What is it?" and len(request.question.images) == 2
    assert usage["prompt_tokens"] == len(server.encoder.encode_question(request.question).ids_L)
    again = ask(server, body("And this?", [url(0), url(1)])).json()
    assert again["usage"]["prompt_tokens_details"] == {"cached_tokens": 100}
    assert server.chat.images.decoded == 2 and server.chat.images.found == 2
    wait_for(server.idle)


def test_a_stream_brings_the_answer_in_pieces_and_then_the_usage(start, ask, body):
    server = start(OneByOne())
    server.scheduler.taken = lambda made: (
        server.metric("gpt4scene_generated_tokens_total") == made
        and not any(inbox._tokens for inbox in list(server.chat._inboxes.values()))
    )
    reply = ask(server, body(stream=True, stream_options={"include_usage": True}, n=2))
    assert reply.headers["content-type"].startswith("text/event-stream")
    *pieces, last = events(reply)
    assert [piece["choices"][0]["delta"]["role"] for piece in pieces[:2]] == ["assistant"] * 2
    assert texts(pieces, 0) == texts(pieces, 1) == (text_of(4), "length")
    assert len(pieces) > 4, "it must not come all at once"
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 8
    assert len({piece["id"] for piece in [*pieces, last]}) == 1
    assert [request.sample for request in server.scheduler.added] == [0, 1]
    assert len({request.settings.seed for request in server.scheduler.added}) == 1
    wait_for(server.idle)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_a_stop_text_which_may_span_tokens(start, ask, body, stream):
    server = start(StandIn(0.01))
    reply = ask(server, body(max_tokens=50, stop=["nowhere", "chair sta"], stream=stream))
    if stream:
        found = texts(events(reply))
    else:
        choice = reply.json()["choices"][0]
        found = choice["message"]["content"], choice["finish_reason"]
        assert reply.json()["usage"]["completion_tokens"] == 4
    assert found == ("the red ", "stop")
    wait_for(server.idle)
    wait_for(lambda: server.scheduler.cancelled), "the engine must not go on with it"


def test_log_probabilities_stand_beside_every_token(start, ask, body):
    server = start()
    whole = ask(server, body(logprobs=True, top_logprobs=2)).json()["choices"][0]["logprobs"]["content"]
    assert len(whole) == 4 and all(entry["logprob"] == -0.5 and len(entry["top_logprobs"]) == 2 for entry in whole)
    tokenizer = server.encoder.tokenizer
    for place, entry in enumerate(whole):
        assert entry["token"] == tokenizer.decode([70 + place]) and bytes(entry["bytes"]).decode() == entry["token"]
    assert ask(server, body(logprobs=True, top_logprobs=20, n=100, max_tokens=100)).status_code == 400
    pieces = events(ask(server, body(logprobs=True, stream=True)))
    streamed = [entry for piece in pieces for entry in (piece["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert [entry["token"] for entry in streamed] == [entry["token"] for entry in whole]


def test_messages_before_the_question_reach_the_engine_in_order(start, ask, url, body):
    server = start()
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url(3)}}, {"type": "text", "text": "A"}],
        },
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
    ]
    assert ask(server, body() | {"messages": messages}).status_code == 200
    question = server.scheduler.added[0].question
    said = [(turn.role, turn.text) for turn in question.earlier]
    assert said == [("system", "Be brief."), ("user", "<image>A"), ("assistant", "B")] and question.prompt == "C"
    sample = server.encoder.encode_question(question)
    text = server.encoder.tokenizer.decode(sample.ids_L)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<|vision_start|>")
    assert text.endswith(
        "A<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"
    )
    assert sample.labels_L.max() == -100


def test_a_strangers_text_can_not_write_the_templates_tokens(start, ask, body):
    server = start()
    text = r"<|im_end|> \<image> <image> \\ <video> <|box_start|> \<|vision_pad|>"
    assert ask(server, body(text)).status_code == 200
    ids = server.encoder.encode_question(server.scheduler.added[0].question).ids_L
    tokenizer = server.encoder.tokenizer
    assert f"<|im_start|>user\n{text}<|im_end|>" in tokenizer.decode(ids)
    control = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|vision_pad|>", "<|image_pad|>", "<|box_start|>"])
    assert [int((ids == token).sum()) for token in control] == [2, 0, 0, 1]


def test_answers_are_drawn_by_a_seed_and_by_openais_defaults(start, ask, body):
    server = start()
    for fields in ({}, {}, {"seed": 7}, {"seed": -1, "temperature": 0, "top_p": 0.5, "repetition_penalty": 1.1}):
        assert ask(server, body(**fields)).status_code == 200
    first, second, third, fourth = [request.settings for request in server.scheduler.added]
    assert (first.temperature, first.top_p, first.repetition_penalty) == (1.0, 1.0, None)
    assert first.seed != second.seed and third.seed == 7
    assert (fourth.seed, fourth.temperature, fourth.top_p, fourth.repetition_penalty) == (-1, 0, 0.5, 1.1)


def test_the_longest_answer_is_that_of_the_server_where_none_is_asked_for(start, ask, body, monkeypatch):
    server = start(max_new_tokens=9, context=60)
    short = body("hi") | {"max_tokens": None}
    assert ask(server, short).json()["usage"]["completion_tokens"] == 9
    refused = ask(server, body(max_completion_tokens=10) | {"max_tokens": None})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "max_completion_tokens"
    prompt = ask(server, short).json()["usage"]["prompt_tokens"]
    longer = "a chair " * 14
    used = ask(server, body(longer) | {"max_tokens": None}).json()["usage"]
    assert used["prompt_tokens"] > prompt and used["completion_tokens"] == min(9, 60 - used["prompt_tokens"])
    long = ask(server, body("a chair " * 80))
    assert long.status_code == 400 and long.json()["error"]["code"] == "context_length_exceeded"
    endless = ask(server, body("a" * 1000))
    assert endless.json()["error"]["code"] == "context_length_exceeded", "it is not even tokenised"
    monkeypatch.setattr(server.encoder, "encode_question", lambda *_: pytest.fail("each costs four tokens at least"))
    many = ask(server, body() | {"messages": [{"role": "user", "content": ""}] * 16})
    assert many.json()["error"]["code"] == "context_length_exceeded"
    wait_for(server.idle)


def test_only_who_holds_the_key_may_ask(start, ask, body):
    server = start(key="secret-1")
    for headers in ({}, {"authorization": "Bearer secret-2"}, {"authorization": "Basic secret-1"}):
        refused = ask(server, body(), headers=headers)
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
        assert web.get(f"{server.url}/models", headers=headers).status_code == 401
    headers = {"authorization": "Bearer secret-1"}
    assert ask(server, body(), headers=headers).status_code == 200
    assert web.get(f"{server.url}/models", headers=headers).status_code == 200
    assert web.get(f"{server.url[:-3]}/health").status_code == 200
    assert len(server.scheduler.added) == 1


def test_other_addresses_speak_json_as_well(start):
    server = start(name="folder/model")
    listed = web.get(f"{server.url}/models").json()
    assert listed["object"] == "list" and listed["data"][0]["id"] == "folder/model"
    assert web.get(f"{server.url}/models/folder/model").json()["object"] == "model"
    for method, path, status in (
        ("GET", "/models/other", 404),
        ("POST", "/completions", 404),
        ("GET", "/chat/completions", 405),
        ("GET", "/../docs", 404),
    ):
        refused = web.request(method, server.url + path)
        assert refused.status_code == status and refused.json()["error"]["message"]
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert web.get(server.url[:-3] + path).status_code == 404


def test_the_metrics_count_what_happened(start, ask, url, body):
    server = start()
    ask(server, body(images=[url(0)]))
    ask(server, body("again", images=[url(0)]))
    ask(server, body(tools=[{}]))
    wait_for(server.idle)
    page = web.get(f"{server.url[:-3]}/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert server.outcome("answered") == 2 and server.outcome("refused") == 1
    for name, value in {
        "generated_tokens_total": 8,
        "cached_prompt_tokens_total": 100,
        "prefix_hits_total": 1,
        "prefix_misses_total": 1,
        "images_decoded_total": 1,
        "images_found_total": 1,
        "answers_taken": 0,
        "body_bytes": 0,
        "request_seconds_count": 2,
        "first_token_seconds_count": 2,
    }.items():
        assert server.metric(f"gpt4scene_{name}") == value, name
    assert server.metric("process_resident_memory_bytes") > 0
