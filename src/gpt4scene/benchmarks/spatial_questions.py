"""Questions about rooms, made from prepared scenes: a lab trains and tests on its own rooms.

Records come from ``scene.json`` files, not from official ones. Rows have the columns of VSI-Bench, are asked in its
words and are read as its own scorer reads. Types of both sets of rules are known; those of one kind make one figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gpt4scene.benchmarks import vsibench
from gpt4scene.benchmarks.letters_numbers import Averages, Types, scorer
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import FromScenes, SceneRecords, TrainingRow
from gpt4scene.benchmarks.spatial import OVERALL, Asked, Figures, Official, Reading, Variant, spatial_benchmark
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record
from gpt4scene.files.scenes import read_scene, scene_json
from gpt4scene.geometry.options import balanced, matched
from gpt4scene.geometry.question import GeometryQuestion, Made, together
from gpt4scene.geometry.routes import KIND as ROUTE
from gpt4scene.geometry.scene_questions import OBJECTS, scene_questions, wanted

NAME, TITLE = "spatial", "Questions of rooms"
_FACINGS = tuple(f"object_rel_direction_{way}_{level}" for way in ("forward", "backward") for level in ("easy", "hard"))
FIGURES = {
    "object_counting": ("object_counting", "object_counting_single", "object_counting_multiple"),
    "object_abs_distance": ("object_abs_distance",),
    "object_size_estimation": ("object_size_estimation",),
    "room_size_estimation": (
        *("room_size_estimation", "room_size_estimation_single", "room_size_estimation_multiple"),
    ),
    "object_rel_distance": (*("object_rel_distance", "object_rel_distance_closest", "object_rel_distance_farthest"),),
    "object_rel_direction": (*vsibench.LEVELS, *_FACINGS),
    "route_planning": ("route_planning",),
    "obj_appearance_order": ("obj_appearance_order",),
}
TYPES = Types(TITLE, FIGURES, frozenset(kind for figure in vsibench.NUMBERS for kind in FIGURES[figure]))
NO_SCENE_FILE = "scene without scene.json, which `gpt4scene prepare` writes"
OLD_SCENE = "scene prepared by an earlier version, so without room sizes and routes; prepare it again with --overwrite"


def asked(record: Record) -> Asked:
    """Return a row as a question, in the words of the benchmark whose columns it has."""
    return TYPES.asked(record, "scene_name", "Please answer the question using a single word or phrase.")


def records_of_scenes(folder: Path, scenes: Sequence[str], how: FromScenes) -> SceneRecords:
    """Return the rows about prepared scenes, and what was dropped by kind and reason.

    The letters of right options are spread evenly over all scenes, and so are the turns of routes over right and wrong
    ones. Raises ``DataError`` for a damaged ``scene.json``.
    """
    what = wanted(how.rules, how.seed, how.per_kind, how.refer, how.varied)
    parts, dropped = [], Counter()
    for scene in scenes:
        path = scene_json(folder, scene)
        if not path.is_file():
            dropped[NO_SCENE_FILE] += 1
            continue
        content = read_scene(path)
        if "room" not in content:
            dropped[OLD_SCENE] += 1
        parts.append(scene_questions(content, str(path), what))
    made = together(parts)
    questions = balanced(matched(made.questions, ROUTE, how.seed), how.seed)
    records = [_record(question, number) for number, question in enumerate(questions)]
    for (kind, reason), count in made.dropped.items():
        dropped[reason if kind == OBJECTS else f"{kind}, {reason}"] += count
    return SceneRecords(records, dropped, tuple(_lines(made, dropped)))


def _lines(made: Made, dropped: Counter[str]) -> Iterator[str]:
    """A line a kind of question, with the number made and the candidates that were left out, by reason."""
    made_of = Counter(question.kind for question in made.questions)
    reasons: dict[str, list[str]] = {kind: [] for kind in made_of}
    for (kind, reason), count in sorted(made.dropped.items()):
        if kind != OBJECTS:
            reasons.setdefault(kind, []).append(f"{reason}: {count:,}")
    for kind, found in reasons.items():
        yield f"  {kind}: {made_of[kind]}" + (f" (left out: {', '.join(found)})" if found else "")
    apart = {reason for kind, reason in made.dropped if kind == OBJECTS} | {NO_SCENE_FILE, OLD_SCENE}
    for reason in sorted(apart & set(dropped)):
        yield f"  {dropped[reason]} x {reason}"


def _record(question: GeometryQuestion, number: int) -> Record:
    values = {
        "id": number,
        "dataset": "prepared",
        "scene_name": question.scene_id,
        "scene_id": question.scene_id,
        "question_type": question.kind,
        "question": question.question,
        "options": list(question.lettered) or None,
        "ground_truth": question.answer,
        "objects": list(question.objects),
        "rules": question.rules,
    }
    return Record(values, f"scene '{question.scene_id}', question {number}")


def training_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[TrainingRow]:
    """Return the row to learn: the prompt of the question, and the letter or the number."""
    question = asked(record)
    yield TrainingRow(question.scene_id, question.prompt, question.truth)


def _quiet(variant: Variant) -> Variant:
    """The variant without notes on absent types: which types there are depends on the rooms and the rules."""

    def figures(officials: Sequence[Official], readings: Sequence[Reading]) -> Figures:
        return replace(variant.figures(officials, readings), notes=())

    return replace(variant, figures=figures)


def _named(averages: Averages) -> dict[str, float]:
    return {OVERALL: averages.overall, **averages.figures}


def _no_official_files(paths: Sequence[Path]) -> list[Record]:
    raise DataError("questions of rooms have no official files; give --scenes")


VARIANTS = tuple(
    _quiet(scorer(TYPES, name, says, reader, _named))
    for name, says, reader in (
        ("official", "letters and numbers by the first token, numbers by mean relative accuracy", vsibench.OFFICIAL),
        ("lmms_eval", "the same with the first number anywhere in the answer", vsibench.LMMS_EVAL),
        ("vlmevalkit", "letters and numbers searched in the whole answer", vsibench.VLMEVALKIT),
    )
)

BENCHMARK = replace(
    spatial_benchmark(
        name=NAME,
        title=TITLE,
        raw_files=(),
        asked=asked,
        variants=VARIANTS,
        read=_no_official_files,
        from_scenes=records_of_scenes,
        about_objects=False,
    ),
    training_rows=training_rows,
)
