"""Chat requests from end to end: answers, streams, what is counted, what is refused, and that nothing is kept."""

import json

from chat_server import wait_for
from stand_in import WORDS


def text_of(count):
    return "".join(f"{WORDS[place % len(WORDS)]} " for place in range(count))


def events(response):
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


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
