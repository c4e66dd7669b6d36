"""Two hundred clients at once, some slow, some gone, and a server that is killed among them: nothing is lost."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from chat_server import wait_for
from stand_in import WORDS, Process, data_url, post

CLIENTS, ROOMS, LENGTH = 200, 4, 30
GROWTH = 200 * 2**20
"""Bytes that the server may grow by: bodies of 200 requests are 90 MB, images 1 MB, and libraries are loaded late."""

pytestmark = pytest.mark.slow


class Load:
    """Clients of one server; ``killed`` is set once it was killed, ``retries`` counts what had to be asked again."""

    def __init__(self, server, rooms):
        self.server, self.rooms, self.retries, self.answers = server, rooms, 0, []
        self.killed = asyncio.Event()

    def body(self, number, **fields):
        images = [{"type": "image_url", "image_url": {"url": url}} for url in self.rooms[number % ROOMS]]
        content = [*images, {"type": "text", "text": f"Question {number}"}]
        messages = [{"role": "user", "content": content}]
        return {"model": "room", "max_tokens": LENGTH, "messages": messages, **fields}

    async def patient(self, client, number, stream):
        """Ask until there is an answer, as the official client does."""
        while True:
            try:
                reply = await client.post("/v1/chat/completions", json=self.body(number, stream=stream))
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
            writer.write(post(self.body(number, stream=True)))
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
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=self.server.url, limits=limits, timeout=120) as client:
            work = []
            for number in range(CLIENTS):
                if number % 10 == 8:
                    work.append(self.leaves(number))
                elif number % 10 == 9:
                    work.append(self.reads_slowly(number))
                else:
                    work.append(self.patient(client, number, bool(number % 2)))
            await asyncio.gather(self._kill(), *work)

    async def _kill(self):
        """Kill the server once some answers have come, and start another at its place."""
        while len(self.answers) < CLIENTS // 10:
            await asyncio.sleep(0.05)
        self.server.process.kill()
        self.killed.set()
        self.server.again()


def _text(reply, stream):
    if not stream:
        return reply.json()["choices"][0]["message"]["content"]
    events = [json.loads(line[6:]) for line in reply.text.split("\n\n") if line and "[DONE]" not in line]
    return "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])


def figures(server):
    page = httpx.get(f"{server.url}/metrics", timeout=60).text
    rows = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def peak(server):
    """The most bytes that the server's process ever held."""
    rows = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) * 1024


def test_nothing_is_lost_and_memory_is_bounded(tmp_path):
    rooms = [[data_url(10 * room + view, (280, 196)) for view in range(3)] for room in range(ROOMS)]
    server = Process(tmp_path, 0.002, 5).ready()
    try:
        load = Load(server, rooms)
        asyncio.run(asyncio.wait_for(load.run(), 150))
        patient = [number for number in range(CLIENTS) if number % 10 < 8]
        assert sorted(number for number, _ in load.answers) == patient
        whole = "".join(f"{WORDS[place % len(WORDS)]} " for place in range(LENGTH))
        assert {text for _, text in load.answers} == {whole}
        assert load.retries > 0, "the kill was felt"
        wait_for(lambda: figures(server)["gpt4scene_answers_taken"] == 0)
        before = figures(server)
        asyncio.run(asyncio.wait_for(calm(server, load), 100))
        wait_for(lambda: figures(server)["gpt4scene_answers_taken"] == 0)
        after = figures(server)
        grown = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
        assert grown < GROWTH, f"{grown / 2**20:.0f} MB"
        assert after["gpt4scene_body_bytes"] == 0 and after["gpt4scene_images_decoded_total"] <= 3 * ROOMS
        assert after["process_open_fds"] < before["process_open_fds"] + 20
        print(f"retries {load.retries}, grown by {grown / 2**20:.0f} MB, at most {peak(server) / 2**20:.0f} MB held")
        assert peak(server) < before["process_resident_memory_bytes"] + GROWTH
    finally:
        server.process.kill()
        server.process.communicate()


async def calm(server, load):
    """Two rounds more of 200 clients, without a kill."""
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=120) as client:
        for _ in range(2):
            await asyncio.gather(*(load.patient(client, number, bool(number % 2)) for number in range(CLIENTS)))
