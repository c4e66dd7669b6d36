"""MMSI-Bench: questions of four choices about several pictures, plain and with their choices rotated.

Official evaluation: InternRobotics/MMSI-Bench @5de2f3d, in its repository and, differently, in its README.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.categories import Means, option_reader, percent_by_category, score_name, share_by_category
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.official_rows import IMAGE_KEYS, as_written, image_names, set_name
from gpt4scene.benchmarks.rotations import LETTERS, STEP, rotations
from gpt4scene.benchmarks.rows import Dropped, QuestionRow
from gpt4scene.benchmarks.spatial import (
    OVERALL,
    Asked,
    Figures,
    Official,
    Reading,
    Variant,
    column,
    mean,
    spatial_benchmark,
)
from gpt4scene.benchmarks.wordings import Prompts
from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

LONG_NAMES = {
    "Pos-Obj-Obj": "Positional Relationship (Obj.–Obj.)",
    "Pos-Cam-Obj": "Positional Relationship (Cam.–Obj.)",
    "Pos-Cam-Cam": "Positional Relationship (Cam.–Cam.)",
    "Pos-Obj-Reg": "Positional Relationship (Obj.–Reg.)",
    "Pos-Cam-Reg": "Positional Relationship (Cam.–Reg.)",
    "Pos-Reg-Reg": "Positional Relationship (Reg.–Reg.)",
    "Attr-Meas": "Attribute (Meas.)",
    "Attr-Appr": "Attribute (Appr.)",
    "Motion-Obj": "Motion (Obj.)",
    "Motion-Cam": "Motion (Cam.)",
    "MSR": "MSR",
}
"""Category in VLMEvalKit's table -> question type in the official file, with a dash where some files have a hyphen."""
SHORT_NAMES = {long: short for short, long in LONG_NAMES.items()}

INSTRUCTION = "Answer with the option's letter from the given choices directly. Enclose the option's letter within ``."

_DOUBLE, _SINGLE = re.compile(r"``([^`]*)``"), re.compile(r"`([^`]*)`")
_LETTER = re.compile(r"\b[A-D]\b(?!\s[a-zA-Z])")
_ANY_LETTER = re.compile(r"\b[A-F]\b(?!\s[a-zA-Z])", re.IGNORECASE)


def asked(record: Record) -> Asked:
    """Return the question of an official row or of a row of VLMEvalKit's table, which may hold choices apart."""
    number = record.name("index") if "index" in record.values else record.name("id")
    images = image_names(record)
    apart = {letter: record.values[letter] for letter in "ABCDEF" if record.name(letter) is not None}
    kind, truth = category_of(record.values) or record.text("question_type"), record.text("answer")
    if kind not in LONG_NAMES and not re.fullmatch("[A-Za-z]", truth):
        raise DataError(
            f"{record.origin}: neither category '{kind}' nor answer '{truth}' is one of this benchmark; is the file of "
            "another one?"
        )
    choices = "\nOptions: " + "".join(f"{letter}: {text}, " for letter, text in apart.items()) if apart else ""
    return Asked(
        scene_id=set_name(images, f"images_of_{number}"),
        prompt=f"{as_written(record, 'question').strip()}{choices}\n{INSTRUCTION}",
        truth=truth,
        kind=kind,
        qid=None if isinstance(number, float) else number,
        images=images,
    )


def category_of(row: Official) -> str:
    """Return the short name of the row's category; one that is not known keeps its own."""
    if row.get("category"):
        return str(row["category"])
    return SHORT_NAMES.get(_with_dash(row), column(row, "question_type"))


def _with_dash(row: Official) -> str:
    return column(row, "question_type").replace("-", "–")


def within_marks(answer: str, *, braces: bool) -> str:
    """Return what the answer encloses: in double backquotes, in that in single ones, in that in ``braces``."""
    for pattern in (_DOUBLE, _SINGLE):
        found = pattern.search(answer)
        answer = found[1] if found else answer
    start = answer.find("{") if braces else -1
    end = answer.find("}", start) if start >= 0 else -1
    return answer[start + 1 : end] if end >= 0 else answer


def reader(
    pattern: re.Pattern[str], *, braces: bool = False, asks: bool = False, cased: bool = False
) -> Callable[[Official, str], Reading]:
    """Return a reader of the first letter that ``pattern`` finds; without one the score is 0, or none if it ``asks``.

    ``cased`` wants the truth to be a capital as well.
    """

    def read(row: Official, answer: str) -> Reading:
        category_of(row)  # a row without one is refused here, where its place is known
        found = pattern.search(within_marks(answer, braces=braces))
        truth = column(row, "answer").strip()
        if found is None:
            return Reading(None, None if asks else 0.0)
        return Reading(found[0].upper(), float(found[0].upper() == (truth if cased else truth.upper())))

    return read


def official_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the share of right answers of each category and of all rows, 0 to 1."""

    def public(means: Means, overall: float) -> dict[str, float]:
        return {OVERALL: overall} | {f"category {name}": value for name, value in means.items()}

    return share_by_category(rows, readings, category_of, public)


def readme_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the shares among the answers that the rule decides; the README names no figures of its own."""
    left = sum(one.score is None for one in readings)
    note = f"{left:,} answers without a letter count nowhere; these rules leave them to a language model"
    return share_by_category(rows, readings, category_of, lambda means, overall: {}, (note,) if left else ())


def lmms_eval_figures(name_of: Callable[[Official], str]) -> Callable[[Sequence[Official], Sequence[Reading]], Figures]:
    """Return the share of each of the eleven types, 0 where there is no row, and of all rows as ``average``."""

    def figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
        public = share_by_category(rows, readings, name_of, lambda means, overall: {"average": overall, **means}).public
        shares = {name: public.get(name, 0.0) for name in (*LONG_NAMES.values(), "average")}
        other = sum(name_of(row) not in SHORT_NAMES for row in rows)
        note = f"{other:,} rows of other question types count in the average only"
        return share_by_category(rows, readings, category_of, lambda *_: shares, (note,) if other else ())

    return figures


def long_name(row: Official) -> str:
    """Return the row's question type as the official file writes it; a table without it has categories."""
    return LONG_NAMES.get(category_of(row), category_of(row)) if "question_type" not in row else _with_dash(row)


def long_name_as_written(row: Official) -> str:
    """Return the row's question type without mending its hyphens."""
    return column(row, "question_type") if "question_type" in row else long_name(row)


BENCHMARK = spatial_benchmark(
    name="mmsi",
    title="MMSI-Bench",
    raw_files=("MMSI_Bench.parquet",),
    asked=asked,
    left_out=IMAGE_KEYS,
    own_images=True,
    variants=(
        Variant(
            "official_repo",
            "the letter in backquotes, a capital A to D that stands as a word (MMSI-Bench's repository, 2025)",
            reader(_LETTER),
            official_figures,
        ),
        Variant(
            "official_readme",
            "as the repository, and within braces; no letter is left to a language model (MMSI-Bench's README, 2025)",
            reader(_LETTER, braces=True, asks=True),
            readme_figures,
        ),
        Variant(
            "lmms_eval",
            "as the README, letters A to F in either case, no letter is wrong (lmms-eval since 2026-03)",
            reader(_ANY_LETTER, braces=True),
            lmms_eval_figures(long_name),
        ),
        Variant(
            "lmms_eval_2026_02",
            "as the README, no letter is wrong (lmms-eval until 2026-02)",
            reader(_LETTER, braces=True),
            lmms_eval_figures(long_name_as_written),
        ),
        Variant(
            "vlmevalkit",
            "VLMEvalKit's option matching, letters A to F anywhere in the answer, in percent (VLMEvalKit, 2026-11)",
            option_reader(category_of),
            percent_by_category(category_of),
        ),
    ),
)


def circular_figures(rows: Sequence[Official], readings: Sequence[Reading]) -> Figures:
    """Return the shares of questions that are right in all four rotations, and in the first one (vanilla)."""
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(_question(row), []).append(place)
    right = np.array([one.score for one in readings], dtype=np.float64)
    all_B, first_B = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for group in places.values():
        first = min(group, key=lambda place: int(rows[place]["index"]))
        all_B[first] = len(group) == len(LETTERS) and right[group].all()
        first_B[first] = right[first]
    kind_B = np.array([category_of(row) for row in rows], dtype=object)
    kinds = {OVERALL: np.ones(len(rows), dtype=bool)} | {kind: kind_B == kind for kind in dict.fromkeys(kind_B)}
    values, public = {}, {}
    for kind, members_B in kinds.items():
        name = "" if kind == OVERALL else score_name(kind)
        values[name or OVERALL] = np.where(members_B, all_B, np.nan)
        values[f"vanilla_{name}" if name else "vanilla"] = np.where(members_B, first_B, np.nan)
        public[f"Circular {kind if name else 'Overall'}"] = mean(all_B[members_B])
        public[f"Vanilla {kind if name else 'Overall'}"] = mean(first_B[members_B])
    parts = sum(len(group) < len(LETTERS) for group in places.values())
    note = f"{parts:,} questions lack answers to some of their four rotations, which counts as wrong"
    scores = {name: mean(value_B) for name, value_B in values.items()}
    counts = {"questions of four": len(places)}
    return Figures(scores, public, values, counts=counts, notes=(note,) if parts else ())


def _question(row: Official) -> int:
    return int(row["g_index"]) if "g_index" in row else int(row["index"]) % STEP


def _circular(plain: Benchmark) -> Benchmark:
    """Return ``plain`` with every record turned into its four rotations."""
    of_record = plain.references
    assert of_record is not None, "a spatial benchmark makes references"

    def references(record: Record) -> Iterator[QuestionRow]:
        for rotated in rotations(record):
            yield from of_record(rotated)

    def question_rows(record: Record, scenes: Scenes, prompts: Prompts) -> Iterator[QuestionRow | Dropped]:
        rows = list(references(record))
        yield from rows or [Dropped("no choices in the question")]

    return replace(plain, references=references, question_rows=question_rows)


CIRCULAR = _circular(
    spatial_benchmark(
        name="mmsi_circular",
        title="MMSI-Bench, circular",
        raw_files=("MMSI_Bench.parquet",),
        asked=asked,
        left_out=IMAGE_KEYS,
        own_images=True,
        variants=(
            Variant(
                "official_circular",
                "a question is right when all four rotations of its choices are (MMSI-Bench's repository, 2025)",
                reader(_LETTER, cased=True),
                circular_figures,
            ),
        ),
    )
)
