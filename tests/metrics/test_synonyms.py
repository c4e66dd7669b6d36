"""METEOR with the synonyms that words can use, and with texts as it makes them, answers as it does by itself."""

import random
import subprocess
import zipfile

import pytest

from gpt4scene.errors import WorkError
from gpt4scene.metrics.java import SHORT_WORK, coco_folder, find_java
from gpt4scene.metrics.meteor import JAR
from gpt4scene.metrics.synonyms import normal, relevant_synonyms

TEXT = """
it is the large big couch sofa couches sofas seat seats table tables man men mice mouse geese child children leaves leaf
boxes box dresses dress dressing dressed baby babies bigger biggest larger nicest carried carry carries running run shut
closed closing near nearer left right side hand o'clock don't n't 's 'em l-shaped t-shirt dark-brown 1/2 3.5 v2 -lrb-
-rrb- a/c $5 50% (x) <b> see saw seen better best good well glasses glass lens churches wishes quizzes woman women
"""


def test_plain_texts_are_cut_as_meteor_cuts_them():
    known = {}
    assert (
        normal("the l-shaped desk 's isn't -lrb- a/c (x) 3.5", known)
        == "the l shaped desk ' s isn 't -lrb- a / c ( x ) 3.5"
    )
    assert normal("", known) == ""
    assert known["l-shaped"] == "l shaped"


@pytest.mark.parametrize(
    "token", ["u.s.", "a-b-c", "The", "x'", "1,000", "...", "caf\u00e9", "a|||b", "&amp;", "x\u2009y"]
)
def test_odd_tokens_are_left_to_meteor(token):
    assert normal(f"the {token} chair", {}) is None


@pytest.fixture
def jar(tmp_path):
    sets = {
        "big": "1 2",
        "large": "2 3",
        "tall": "4",
        "couch": "5",
        "sofa": "5",
        "man": "6",
        "adult": "6 7",
        "low": "2",
    }
    with zipfile.ZipFile(tmp_path / "meteor.jar", "w") as archive:
        archive.writestr("synonym/english.synsets", "".join(f"{word}\n{held}\n" for word, held in sets.items()))
        archive.writestr("synonym/english.exceptions", "man\nmen menfolk\nlow\nlowest\n")
    return tmp_path / "meteor.jar"


def test_only_sets_that_two_of_the_words_share_are_kept(jar):
    """Words stay known without a set: whether ``couches`` is looked up as another word depends on it."""
    files = relevant_synonyms(jar, {"big", "large", "tall", "couches", "sofa", "men", "adult"})
    assert files["english.exceptions"] == b"man\nmen\n"
    lines = files["english.synsets"].decode().split("\n")
    assert dict(zip(lines[::2], lines[1::2], strict=False)) == {
        **{"adult": "6", "big": "2", "couch": "5", "large": "2", "man": "6", "sofa": "5", "tall": ""}
    }


def test_a_program_without_synonyms_is_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "meteor.jar", "w"):
        pass
    for path in (tmp_path / "meteor.jar", tmp_path / "missing.jar"):
        with pytest.raises(WorkError, match=r"\.jar: holds no synonyms .* install pycocoevalcap again"):
            relevant_synonyms(path, {"chair"})


@pytest.mark.slow
def test_statistics_stay_the_same(tmp_path):
    java, coco = find_java(), coco_folder()
    if java is None or coco is None:
        pytest.skip("METEOR needs Java and pycocoevalcap")
    generator, known = random.Random(0), {}
    texts = [" ".join(generator.choices(TEXT.split(), k=generator.randint(1, 14))) for _ in range(3000)]
    made = [normal(text, known) for text in texts]
    words = {word for text in made for word in text.split()}
    for name, content in relevant_synonyms(coco / JAR, words).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "none.gz").write_bytes(b"")

    def answers(texts, *more):
        lines = "".join(f"SCORE ||| {one} ||| {two}\n" for one, two in zip(texts, texts[1:], strict=False))
        modules = ["-m", "exact stem synonym"]
        command = [java, *SHORT_WORK, "-jar", str(coco / JAR), "-", "-", "-stdio", "-l", "en", *modules, *more]
        return subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout

    assert answers(made, "-d", str(tmp_path)) == answers(texts, "-norm")
