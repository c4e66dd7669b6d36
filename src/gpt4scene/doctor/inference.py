"""What is wrong with an inference run that is planned: the checks of ``infer``, and questions read from end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene.doctor.findings import GIB, Checks, Finding, spread
from gpt4scene.inference.arguments import InferArguments

if TYPE_CHECKING:
    from gpt4scene.data.encoding import Encoder
    from gpt4scene.inference.plan import View


def infer_findings(arguments: InferArguments, full: bool = False) -> Iterator[Finding]:
    """Yield the findings about a run; nothing is changed, and no weight is read.

    ``full`` decodes the images of every scene and encodes every question, else those of a sample.
    """
    from gpt4scene.inference.plan import make_plan
    from gpt4scene.inference.run import check_device

    checks = Checks()
    checks.check("device", lambda: check_device(arguments), arguments.device if arguments.engine == "local" else "")
    encoder = _model(arguments, checks) if arguments.engine == "local" else None
    yield from checks.take()
    plan = checks.check("questions", lambda: make_plan(arguments, checks.note), lambda found: found.summary(arguments))
    yield from checks.take()
    if plan is None:
        return
    views = list(plan.images)
    checks.check("answers", lambda: plan.check_journals(Path(arguments.output_dir), plan.scenes), arguments.output_dir)
    if encoder is not None:
        questions = [plan.questions[index] for index in spread(len(plan.questions), full)]
        checks.check(
            "questions",
            lambda: [encoder.encode_question(question) for question in questions],
            lambda found: f"{len(found)} encoded, the longest of {max(len(one.ids_L) for one in found)} tokens",
        )
        chosen = [views[index] for index in spread(len(views), full)]
        checks.check("images", lambda: _decode(encoder, plan.images, chosen), lambda found: f"{found} decoded")
    yield from checks.take()


def _model(arguments: InferArguments, checks: Checks) -> Encoder | None:
    """Return what encodes the questions, once the files of model and adapter fit each other."""
    from gpt4scene.data.encoding import Encoder
    from gpt4scene.data.image_rules import image_rule
    from gpt4scene.families.family import choose_template
    from gpt4scene.families.registry import family_of
    from gpt4scene.model.adapter_chain import chain, check_chain
    from gpt4scene.model.folder import find_model, weights_bytes
    from gpt4scene.model.loading import check_checkpoint, load_tokenizer
    from gpt4scene.model.trained_with import trained_with

    folder = checks.check("model", lambda: find_model(arguments.model))
    if folder is None:
        return None

    def look() -> Encoder:
        network = check_checkpoint(folder.base)
        if folder.adapter is not None:
            check_chain(chain([folder.adapter]), network, folder.base)
        family = family_of(network.config)
        vision = image_rule(folder.base, **asdict(arguments.image_limits), video=arguments.video_limits)
        tokenizer = load_tokenizer(folder.base)
        asked, trained = arguments.template, trained_with(folder)
        template = choose_template(family, asked, tokenizer.chat_template, arguments.enable_thinking, trained)
        return Encoder(tokenizer, template, vision)

    size = weights_bytes(folder.base) / GIB
    beside = f" with the adapter {folder.adapter}" if folder.adapter else ""
    return checks.check("model", look, f"{folder.base}, {size:.1f} GiB of weights{beside}")


def _decode(encoder: Encoder, images: Mapping[View, tuple[str, ...]], views: Sequence[View]) -> int:
    from gpt4scene.data.image_files import patches

    paths = list(dict.fromkeys(path for view in views for path in images[view]))
    for path in paths:
        patches(path, encoder.vision)
    return len(paths)
