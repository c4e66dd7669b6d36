"""vLLM's side of ``beside_vllm.py``: runs under an interpreter that has vLLM and needs nothing of this project.

Takes a job as JSON on its standard input and writes seconds and answers. Images are opened and resized by the job's
sizes in a thread a core, as on our side, and handed over as objects with names, so that vLLM neither decodes nor hashes
them once a question.

    PYTHON scripts/bench/vllm_side.py OUT.json <JOB.json
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from PIL import Image


def conversations(job, prompts):
    """Return one conversation a prompt; all share the image objects."""

    def part(path, size):
        with Image.open(path) as image:
            resized = image.convert("RGB").resize(tuple(size), Image.Resampling.BICUBIC)
        return {"type": "image_pil", "image_pil": resized, "uuid": path}

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = list(threads.map(part, job["images"], job["sizes"]))
    return [[{"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}] for prompt in prompts]


def ask(llm, settings, job, prompts, first_alone):
    """Return seconds and answers, from image files on; the first question may run alone."""
    start = time.perf_counter()
    asked = conversations(job, prompts)
    groups = (asked[:1], asked[1:]) if first_alone else (asked,)
    done = [one for group in groups if group for one in llm.chat(group, settings, use_tqdm=False)]
    return time.perf_counter() - start, [one.outputs[0].text for one in done]


def forget(llm):
    """Drop every cache that a repeat could start from."""
    llm.reset_prefix_cache()
    llm.reset_mm_cache()
    llm.llm_engine.reset_encoder_cache()


def main():
    """Time every number of questions, cold and warm, and write what was found."""
    from vllm import LLM, SamplingParams

    job = json.loads(sys.stdin.read())
    llm = LLM(
        model=job["model"],
        dtype=job["dtype"],
        max_model_len=job["longest"],
        limit_mm_per_prompt={"image": len(job["images"]), "video": 0},
        enable_prefix_caching=True,
        skip_mm_profiling=True,
        disable_log_stats=True,
        enforce_eager=job["eager"],
        seed=0,
    )
    settings = SamplingParams(temperature=0.0, max_tokens=job["tokens"])
    ask(llm, settings, job, job["prompts"][:2], True)
    ask(llm, settings, job, job["prompts"][: max(job["counts"])], True)
    results = []
    for count in job["counts"]:
        cold, warm = job["prompts"][:count], job["prompts"][count : 2 * count]
        for repeat in range(job["repeats"]):
            for first_alone in (True, False):
                forget(llm)
                seconds, texts = ask(llm, settings, job, cold, first_alone)
                again, others = ask(llm, settings, job, warm, False)
                results.append(
                    {
                        "count": count,
                        "order": "first alone" if first_alone else "together",
                        "cold_s": seconds,
                        "warm_s": again,
                        "cold_texts": texts,
                        "warm_texts": others,
                    }
                )
                print(f"vllm {count} {first_alone} {repeat}: {seconds:.2f} {again:.2f}", file=sys.stderr, flush=True)
    versions = {name: version(name) for name in ("torch", "transformers")} | {"vllm": sys.modules["vllm"].__version__}
    Path(sys.argv[1]).write_text(json.dumps({"results": results, "versions": versions}))


if __name__ == "__main__":
    main()
