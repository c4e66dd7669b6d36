"""Trackers: TensorBoard, Weights & Biases, MLflow and SwanLab get the settings, the figures and the answers of a run.

A tracker that can't begin stops the run before any work, with a sentence. One that fails later is left, with a note:
training goes on, and ``trainer_log.jsonl`` has every figure. docs/watching.md says what each does without its host.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from transformers import TrainerCallback

from gpt4scene import talk
from gpt4scene.errors import ConfigError, Stopped
from gpt4scene.settings.config import TrainConfig
from gpt4scene.settings.watching import swanlab_mode
from gpt4scene.training.processes import on_all

PROJECT = "gpt4scene"
PATIENCE_S = 60
"""Seconds that a tracker may hold up the beginning or the end of a run, about."""

Scalars = Mapping[str, float]

NOT_READ = MappingProxyType(
    {
        "wandb": ("WANDB_WATCH", "WANDB_LOG_MODEL"),
        "mlflow": ("HF_MLFLOW_LOG_ARTIFACTS", "MLFLOW_FLATTEN_PARAMS", "MLFLOW_MAX_LOG_PARAMS", "MLFLOW_NESTED_RUN"),
        "swanlab": ("SWANLAB_LOG_MODEL",),
    }
)
"""Tracker -> variables of transformers' own callbacks that have no effect here."""


@dataclass(frozen=True)
class About:
    """What a tracker is told of a run: its name, output folder, settings by key, and SwanLab's own settings."""

    name: str
    output_dir: str
    settings: Mapping[str, Any]
    config: TrainConfig


class Tracker(Protocol):
    """One open run of a tracker; ``place`` says where it writes."""

    place: str

    def log(self, figures: Scalars, step: int) -> None:
        """Write figures by readable name."""

    def text(self, name: str, lines: Sequence[Sequence[str]], step: int) -> None:
        """Write rows of texts, such as questions and answers; the first row names the columns."""

    def close(self, status: str) -> None:
        """End the run as ``finished``, ``stopped`` or ``failed``."""


class _TensorBoard:
    def __init__(self, about: About) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
        from transformers.integrations.integration_utils import default_logdir

        given = about.config.watching.logging_dir or os.environ.get("TENSORBOARD_LOGGING_DIR")
        self.place = os.path.expanduser(given) if given else str(Path(about.output_dir) / default_logdir())
        self._writer = SummaryWriter(log_dir=self.place)
        self._writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in about.settings.items()))
        self._writer.flush()

    def log(self, figures: Scalars, step: int) -> None:
        for name, value in _by_kind(figures).items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def text(self, name: str, lines: Sequence[Sequence[str]], step: int) -> None:
        self._writer.add_text(name, _markdown(lines), step)
        self._writer.flush()

    def close(self, status: str) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, about: About) -> None:
        import wandb

        self._wandb = wandb
        settings = wandb.Settings(init_timeout=PATIENCE_S, finish_timeout=PATIENCE_S)
        self._run = run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", about.name),
            config=dict(about.settings),
            settings=settings,
        )
        run.define_metric("train/global_step")
        run.define_metric("*", step_metric="train/global_step", step_sync=True)
        self.place = str(run.url or Path(run.dir).parent)

    def log(self, figures: Scalars, step: int) -> None:
        self._run.log({**_by_kind(figures), "train/global_step": step})

    def text(self, name: str, lines: Sequence[Sequence[str]], step: int) -> None:
        table = self._wandb.Table(columns=list(lines[0]), data=[list(line) for line in lines[1:]])
        self._run.log({f"eval/{name}": table, "train/global_step": step})

    def close(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "finished" else 1)


class _MLflow:
    """Runs go to ``MLFLOW_TRACKING_URI``; without it to mlflow's own default, or to ./mlruns where that is not there.

    The default of mlflow 3 is a database beside the working directory, which mlflow-skinny can't open.
    """

    def __init__(self, about: About) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
        import mlflow
        from mlflow.utils import validation

        self._mlflow = mlflow
        uri = mlflow.get_tracking_uri()
        if not mlflow.is_tracking_uri_set() and uri.startswith("sqlite:") and not _is_there("sqlalchemy"):
            mlflow.set_tracking_uri(uri := (Path.cwd() / "mlruns").as_uri())
        if uri.startswith("file:") or "://" not in uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        run = mlflow.start_run(run_name=about.name)
        self.place = f"{without_password(uri)} (run {run.info.run_id})"
        longest = validation.MAX_PARAM_VAL_LENGTH
        known = run.data.params  # of a run that MLFLOW_RUN_ID names; MLflow lets nobody change them
        values = {key: str(value)[:longest] for key, value in about.settings.items() if key not in known}
        most = validation.MAX_PARAMS_TAGS_PER_BATCH
        items = list(values.items())
        for first in range(0, len(items), most):
            mlflow.log_params(dict(items[first : first + most]))
        mlflow.log_dict(dict(about.settings), "settings.json")
        if tags := os.environ.get("MLFLOW_TAGS"):
            mlflow.set_tags(json.loads(tags))

    def log(self, figures: Scalars, step: int) -> None:
        self._mlflow.log_metrics(dict(figures), step=step, synchronous=False)

    def text(self, name: str, lines: Sequence[Sequence[str]], step: int) -> None:
        self._mlflow.log_text(_markdown(lines), f"{name}/step_{step}.md")

    def close(self, status: str) -> None:
        self._mlflow.flush_async_logging()
        self._mlflow.end_run({"finished": "FINISHED", "stopped": "KILLED"}.get(status, "FAILED"))


class _SwanLab:
    def __init__(self, about: About) -> None:
        watching = about.config.watching
        mode = swanlab_mode(watching.swanlab_mode)
        if mode == "local" and not _is_there("swanboard"):
            raise ImportError("swanlab_mode: local needs the dashboard, pip install 'swanlab[dashboard]'")
        import swanlab

        self._swanlab = swanlab
        swanlab.init(
            project=watching.swanlab_project or os.environ.get("SWANLAB_PROJECT") or PROJECT,
            workspace=watching.swanlab_workspace,
            name=watching.swanlab_run_name or about.name,
            mode=cast(Any, mode),
            log_dir=watching.swanlab_logdir,
            config=dict(about.settings),
        )
        run = swanlab.get_run()
        assert run is not None
        self.place = str(run.url if run.mode == "online" else run.dir)

    def log(self, figures: Scalars, step: int) -> None:
        self._swanlab.log(_by_kind(figures), step=step)

    def text(self, name: str, lines: Sequence[Sequence[str]], step: int) -> None:
        self._swanlab.log({f"eval/{name}": self._swanlab.Text(_markdown(lines))}, step=step)

    def close(self, status: str) -> None:
        words = {"finished": "success", "stopped": "aborted"}
        self._swanlab.finish(state=cast(Any, words.get(status, "crashed")))


TRACKERS: Mapping[str, Callable[[About], Tracker]] = MappingProxyType(
    {"tensorboard": _TensorBoard, "wandb": _Wandb, "mlflow": _MLflow, "swanlab": _SwanLab}
)

WAYS_OUT = MappingProxyType(
    {
        "tensorboard": "write another logging_dir",
        "wandb": "run wandb login, or set WANDB_MODE=offline to keep it on this disk (wandb sync sends it later)",
        "mlflow": "correct MLFLOW_TRACKING_URI; a path such as ./mlruns keeps it on this disk",
        "swanlab": "run swanlab login, or write swanlab_mode: offline to keep it on this disk (swanlab sync sends it)",
    }
)


class Tracking(TrainerCallback):
    """Gives every logged figure to the trackers of this process; on other processes than the first there are none."""

    def __init__(self, trackers: Mapping[str, Tracker], say: Callable[[str], None]) -> None:
        self._trackers, self._say = dict(trackers), say

    def on_log(self, args, state, control, logs: Mapping[str, Any] | None = None, **_: object):
        """Pass on what are numbers."""
        figures = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        self._each(lambda tracker: tracker.log(figures, state.global_step))

    def text(self, name: str, lines: Sequence[Sequence[str]], step: int) -> None:
        """Pass on rows of texts, the names of their columns first."""
        self._each(lambda tracker: tracker.text(name, lines, step))

    def close(self, status: str) -> None:
        """End all runs as ``finished``, ``stopped`` or ``failed``."""
        self._each(lambda tracker: tracker.close(status))
        self._trackers.clear()

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                work(tracker)
            except Exception as error:  # noqa: BLE001 (of any kind: each tracker has its own, and none may end a run)
                del self._trackers[name]
                talk.note(
                    f"report_to: {name} failed ({_first_line(error)}); the run goes on without it, and "
                    "trainer_log.jsonl has every figure",
                    self._say,
                )


def our_trackers(config: TrainConfig) -> tuple[str, ...]:
    """Return the trackers that the run asks for and that are written to here; ``all`` are those that are installed."""
    named = config.reporters
    if "all" not in named:
        return tuple(name for name in named if name in TRACKERS)
    modules = {"tensorboard": ("tensorboard", "tensorboardX")}
    return tuple(name for name in TRACKERS if any(map(_is_there, modules.get(name, (name,)))))


def other_trackers(config: TrainConfig) -> list[str]:
    """Return the trackers that the run asks for and that transformers' own callbacks write to."""
    named = config.reporters
    if "all" in named:
        from transformers.integrations.integration_utils import get_available_reporting_integrations

        named = tuple(get_available_reporting_integrations())
    return [name for name in named if name not in TRACKERS]


@contextmanager
def tracked(config: TrainConfig, first: bool, say: Callable[[str], None], **more: Any) -> Iterator[Tracking]:
    """Keep the trackers of a run open in the block, on the ``first`` process, and end them as the block ends.

    They get every setting, and what ``more`` says. All processes call this. Raises ``ConfigError`` for a tracker that
    can't begin.
    """
    settings = flat_settings(config) | more
    tracking = on_all(lambda: open_trackers(config, settings, say) if first else Tracking({}, say))
    try:
        yield tracking
    except BaseException as error:
        tracking.close("stopped" if isinstance(error, Stopped) else "failed")
        raise
    tracking.close("finished")


def open_trackers(config: TrainConfig, settings: Mapping[str, Any], say: Callable[[str], None]) -> Tracking:
    """Return the trackers of the run, open, and say where each writes; ``ConfigError`` for one that can't begin."""
    opened: dict[str, Tracker] = {}
    name = config.training.get("run_name") or Path(config.output_dir).absolute().name
    about = About(name, config.output_dir, settings, config)
    for tracker in our_trackers(config):
        if ignored := [variable for variable in NOT_READ.get(tracker, ()) if variable in os.environ]:
            names = ", ".join(ignored)
            talk.note(f"{names} has no effect: figures, settings and answers are tracked, weights are not", say)
        try:
            opened[tracker] = TRACKERS[tracker](about)
        except BaseException as error:
            Tracking(opened, say).close("failed")
            if not isinstance(error, Exception):
                raise
            raise ConfigError(
                f"report_to: {tracker} could not begin ({_first_line(error)}); {WAYS_OUT[tracker]}, or leave it out"
            ) from None
        say(f"tracked by {tracker}: {opened[tracker].place}{_look(tracker, about)}")
    return Tracking(opened, say)


def _look(tracker: str, about: About) -> str:
    """Return how one looks at what a tracker writes here, where a command shows it."""
    if tracker != "tensorboard":
        return ""
    given = about.config.watching.logging_dir or os.environ.get("TENSORBOARD_LOGGING_DIR")
    folder = os.path.expanduser(given) if given else str(Path(about.output_dir) / "runs")
    return f"; to look at it while it learns: tensorboard --logdir {shlex.quote(folder)}"


def flat_settings(config: TrainConfig) -> dict[str, Any]:
    """Return every setting of the run by its key, as ``run.json`` has it: what people wrote, and our defaults."""
    resolved = config.resolved()
    sections = [values for name, values in resolved.items() if isinstance(values, dict) and name != "training"]
    return {key: value for values in [*sections, resolved["training"]] for key, value in values.items()}


def _by_kind(figures: Scalars) -> dict[str, float]:
    """Return figures under ``train/`` and ``eval/``, where dashboards group them."""
    return {
        f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}": value
        for name, value in figures.items()
    }


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table of texts in Markdown, which all trackers show."""
    rows = [[" ".join(cell.replace("|", "\\|").replace("<", "&lt;").split()) for cell in line] for line in lines]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def without_password(text: str) -> str:
    """Return ``text`` without what stands before the host of an address: a name and a password."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def _first_line(error: Exception) -> str:
    text = without_password(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} …"
