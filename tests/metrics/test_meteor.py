"""METEOR's statistics become the score that the program itself gives."""

import gzip
import subprocess

import numpy as np
import pytest

from gpt4scene.metrics import meteor as meteors
from gpt4scene.metrics.java import coco_folder, find_java
from gpt4scene.metrics.meteor import JAR, Meteor, programs_for, score


@pytest.fixture(scope="module")
def programs():
    java, coco = find_java(), coco_folder()
    if java is None or coco is None:
        pytest.skip("METEOR needs Java and pycocoevalcap")
    return java, coco


PAIRS = [
    ("the brown chair", ("the brown chair",)),
    ("a chair in brown", ("the brown chair", "a brown seat near the desk")),
    ("", ("a table",)),
    ("left", ("right", "left")),
    ("it is next to the big couch", ("the large sofa is beside it", "it stands next to a big couch")),
    ("sos eos", ("sos a lamp on the table eos",)),
]


@pytest.mark.slow
def test_groups_score_as_the_program_says(programs, tmp_path):
    """``EVAL`` of the program on the same statistics, all pairs together and one by one; it needs no paraphrases."""
    java, coco = programs
    groups = [PAIRS, *([pair] for pair in PAIRS)]
    with Meteor(java, coco, PAIRS) as meteor:
        ours = [float(score(meteor.statistics(group).sum(axis=0))) for group in groups]
        lines = meteor._programs[0].answers()
    sent = "EVAL ||| " + " ||| ".join(lines) + "\n"
    (tmp_path / "none.gz").write_bytes(gzip.compress(b""))
    command = [java, "-Xmx2G", "-jar", str(coco / JAR), "-", "-", "-stdio", "-l", "en", "-norm"]
    command += ["-a", str(tmp_path / "none.gz")]
    said = subprocess.run(command, input=sent, capture_output=True, text=True, check=True).stdout.split()
    assert ours == pytest.approx([float(said[-1]), *map(float, said[:-1])], abs=1e-12)


def test_no_match_is_zero():
    nothing, something = [3.0, 4, 1, 1] + [0.0] * 20, [1.0, 1, 0, 0, 1, 1] + [0.0] * 14 + [1, 1, 1, 1]
    assert score(np.array(nothing)) == 0
    assert score(np.array([nothing, something])).tolist() == [0, 1]


def test_the_end_of_the_program_is_noticed(programs):
    java, coco = programs
    with Meteor(java, coco, PAIRS) as meteor:
        meteor._programs[0]._process.kill()
        with pytest.raises(RuntimeError, match="METEOR ended before it had answered"):
            meteor.statistics(PAIRS)


TABLE = gzip.compress(b"0.5\nlarge sofa\nbig couch\n")
ODD = [("the 3rd u.s. chair.", ("the u.s. chair",)), ("C'est", ("a chair", "\u00e9t\u00e9"))]


def start_many(monkeypatch):
    """Have few pairs be worth programs of their own, two of each kind."""
    monkeypatch.setattr(meteors, "_PAIRS_WORTH_A_PROGRAM", 1)
    monkeypatch.setattr(meteors, "_cores", lambda: 2)


@pytest.mark.slow
def test_programs_share_the_work_and_say_the_same(programs, monkeypatch):
    """Four of them: half for plain texts, which have few synonyms and no ``-norm``, and half for odd ones."""
    java, coco = programs
    pairs = [*PAIRS, *ODD]
    with Meteor(java, coco, pairs, TABLE) as one:
        usual = one.statistics([*pairs, *pairs[::-1]])
        assert [program.lines for program in one._programs] == [len(pairs)]
    start_many(monkeypatch)
    with Meteor(java, coco, pairs, TABLE) as several:
        assert np.array_equal(several.statistics([*pairs, *pairs[::-1]]), usual)
    assert sorted(program.lines for program in several._programs) == [1, 1, 2, 4]


def test_the_end_of_one_of_several_is_noticed(programs, monkeypatch):
    java, coco = programs
    start_many(monkeypatch)
    with Meteor(java, coco, PAIRS, TABLE) as meteor:
        meteor._programs[1]._process.kill()
        with pytest.raises(RuntimeError, match="METEOR ended before it had answered"):
            meteor.statistics(PAIRS)


def test_few_pairs_get_one_program(monkeypatch):
    monkeypatch.setattr("gpt4scene.metrics.meteor._cores", lambda: 2)
    assert [programs_for(pairs) for pairs in (0, 1, 1999, 2000, 50_000)] == [1, 1, 1, 2, 2]
