"""Two hundred clients at once, some slow, some gone, and a server that is killed among them: nothing is lost."""

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest
from chat_server import wait_for
from stand_in import WORDS, Process, data_url, post, web

CLIENTS, ROOMS, LENGTH = 200, 4, 30
CALM_ROUNDS = 2
MAX_BODY = 2
"""Megabytes of a body at most. All together then hold 32 MB, where 200 clients send 126 MB: they take turns."""
GROWTH = 200 * 2**20
"""Bytes that the server may grow by; bodies that are kept would be 250 MB after the calm rounds."""

pytestmark = pytest.mark.slow


JSON = {"content-type": "application/json"}


def asked(urls):
    """A request about a room."""
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": "QUESTION"}]}]
    return {"model": "room", "max_tokens": LENGTH, "stream": False, "messages": messages}


class Load:
    """Clients of one server; ``retries`` counts what had to be asked again."""

    def __init__(self, server, rooms):
        self.server, self.retries, self.answers = server, 0, []
        self.bodies = [json.dumps(asked(urls)) for urls in rooms]

    def body(self, number, stream):
        """The bytes of a request. The images in it are written once a room: clients share two cores with the server."""
        text = self.bodies[number % ROOMS].replace("QUESTION", f"Question {number}")
        return text.replace('"stream": false', f'"stream": {json.dumps(stream)}').encode()

    async def patient(self, number, stream):
        """Ask until there is an answer, as the official client does."""
        async with httpx.AsyncClient(base_url=self.server.url, timeout=120, verify=False) as client:
            await self._ask(client, number, stream)

    async def _ask(self, client, number, stream):
        while True:
            try:
                reply = await client.post("/v1/chat/completions", content=self.body(number, stream), headers=JSON)
            except httpx.TransportError:
                reply = None
            if reply is not None and reply.status_code == 200 and (not stream or "[DONE]" in reply.text):
                self.answers.append((number, _text(reply, stream)))
                return
            assert reply is None or reply.status_code in (200, 429, 503), reply.text
            self.retries += 1
            await asyncio.sleep(float(reply.headers.get("retry-after", 0.2)) if reply is not None else 0.2)

    async def _bare(self, number, read):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            writer.write(post(self.body(number, True)))
            await writer.drain()
            await read(reader)
            writer.close()
        except OSError:
            pass  # the server was killed

    async def leaves(self, number):
        """Go away after the first piece, or before it."""

        async def read(reader):
            if number % 2:
                await reader.read(10)

        await self._bare(number, read)

    async def reads_slowly(self, number):
        """Take a few bytes at a time, and stop in the middle."""

        async def read(reader):
            for _ in range(5):
                await reader.read(16)
                await asyncio.sleep(0.2)

        await self._bare(number, read)

    async def run(self):
        work = []
        for number in range(CLIENTS):
            if number % 10 == 8:
                work.append(self.leaves(number))
            elif number % 10 == 9:
                work.append(self.reads_slowly(number))
            else:
                work.append(self.patient(number, bool(number % 2)))
        await asyncio.gather(self._kill(), *work)

    async def _kill(self):
        """Kill the server once some answers have come, and start another at its place."""
        while len(self.answers) < CLIENTS // 10:
            await asyncio.sleep(0.05)
        self.server.process.kill()
        self.server.again()


def _text(reply, stream):
    if not stream:
        return reply.json()["choices"][0]["message"]["content"]
    events = [json.loads(line[6:]) for line in reply.text.split("\n\n") if line and "[DONE]" not in line]
    return "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])


def figures(server):
    page = web.get(f"{server.url}/metrics").text
    rows = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def peak(server):
    """The most bytes that the server's process ever held."""
    rows = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) * 1024


def test_nothing_is_lost_and_memory_is_bounded(tmp_path):
    rooms = [[data_url(10 * room + view, (280, 196)) for view in range(3)] for room in range(ROOMS)]
    server = Process(sys.executable, tmp_path, 0.002, 5, MAX_BODY).ready()
    try:
        load = Load(server, rooms)
        asyncio.run(asyncio.wait_for(one_of_each_room(load), 60))
        warm = figures(server)["process_resident_memory_bytes"]  # libraries that are loaded late are there
        asyncio.run(asyncio.wait_for(load.run(), 150))
        patient = [number for number in range(CLIENTS) if number % 10 < 8]
        assert sorted(number for number, _ in load.answers) == patient
        whole = "".join(f"{WORDS[place % len(WORDS)]} " for place in range(LENGTH))
        assert {text for _, text in load.answers} == {whole}
        assert load.retries > 0, "the kill was felt"
        wait_for(lambda: figures(server)["gpt4scene_answers_taken"] == 0)
        before = figures(server)
        asyncio.run(asyncio.wait_for(calm(load), 100))
        wait_for(lambda: figures(server)["gpt4scene_answers_taken"] == 0)
        after = figures(server)
        grown = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
        assert grown < GROWTH, f"{grown / 2**20:.0f} MB"
        assert after["gpt4scene_body_bytes"] == 0 and after["gpt4scene_images_decoded_total"] <= 3 * ROOMS
        assert after["process_open_fds"] < before["process_open_fds"] + 20
        held = peak(server) - warm
        print(f"retries {load.retries}, grown by {grown / 2**20:.0f} MB, at most {held / 2**20:.0f} MB held")
        assert held < GROWTH, f"{held / 2**20:.0f} MB"
    finally:
        server.process.kill()
        server.process.communicate()


async def one_of_each_room(load):
    """A client of each room, whose answers are not counted."""
    await asyncio.gather(*(load.patient(number, bool(number % 2)) for number in range(ROOMS)))
    load.answers.clear()


async def calm(load):
    """Rounds more of 200 clients, without a kill."""
    for _ in range(CALM_ROUNDS):
        await asyncio.gather(*(load.patient(number, bool(number % 2)) for number in range(CLIENTS)))
