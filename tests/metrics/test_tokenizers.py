"""Our own Penn Treebank rules against the Java program, on real texts and on made-up captions."""

import csv
import json
import random

import pytest

from gpt4scene.metrics.java import coco_folder, find_java
from gpt4scene.metrics.tokenizer_rules import tokenize
from gpt4scene.metrics.tokenizers import java_tokens, own_tokens, without_punctuation

WORDS = (
    "The there chair TV t.v. table's legs' don't can't isn't it's I'm they've o'clock dark-brown l-shaped u-shaped "
    "and/or w/ n/a 2 10 2.5 1,000 1/2 3:30 5ft 2nd 3d 6' 5\" 20% $5 #3 2x4 etc. approx. mr. st. no. 7 a.m. U.S. e.g. "
    "i.e. cannot gonna <OBJ017> sos eos A&B c# left-hand trash can monitor. café naïve “big” ‘small’ wait… – — 1980's "
    "'80s 893 1168 408"
)
JOINTS = [" "] * 14 + [". ", ", ", "; ", ": ", "! ", "? ", " - ", ".", ",", " (", ") ", '" ', ' "', " '", "' "]
JOINTS += ["...", "--"]


def both(texts):
    java, coco = find_java(), coco_folder()
    if java is None or coco is None:
        pytest.skip("the comparison needs Java and pycocoevalcap")
    return list(zip(texts, own_tokens(texts), java_tokens(texts, java, coco), strict=True))


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@pytest.fixture(scope="module")
def real_texts(shared_data):
    """Every different string of the real annotation files, names and numbers included."""
    folder = shared_data / "annotations"
    found = [text for path in sorted(folder.rglob("*.json")) for text in strings(json.loads(path.read_text()))]
    for path, mark in [*((p, ",") for p in folder.rglob("*.csv")), *((p, "\t") for p in folder.rglob("*.tsv"))]:
        with path.open(newline="") as file:
            found += [cell for line in csv.reader(file, delimiter=mark) for cell in line]
    return list(dict.fromkeys(found))


@pytest.mark.slow
def test_every_real_text(real_texts):
    assert len(real_texts) > 20_000
    assert [row for row in both(real_texts) if row[1] != row[2]] == []


@pytest.mark.slow
def test_made_up_captions():
    generator = random.Random(7)
    words = WORDS.split()
    texts = [
        "".join(generator.choice(words) + generator.choice(JOINTS) for _ in range(generator.randint(1, 12)))
        for _ in range(10_000)
    ]
    assert [row for row in both(texts) if row[1] != row[2]] == []


@pytest.mark.slow
def test_real_words_between_odd_marks(real_texts):
    generator = random.Random(3)
    words = sorted({word for text in real_texts for word in text.split() if word.isascii() and word.isalpha()})
    marks = [*JOINTS, "/", "_", "&", "+", "%", " #", "$", "'s ", "n't ", "!!", "?! "]
    texts = [
        "".join(generator.choice(words) + generator.choice(marks) for _ in range(generator.randint(1, 8)))
        for _ in range(10_000)
    ]
    wrong = [row for row in both(texts) if row[1] != row[2]]
    assert len(wrong) <= 10, wrong[:20]


TYPOS = "abcdefghijklmnopqrstuvwxyzABCST0123456789 .,'-/\"!?;:()&%$#@*_+<>=~`^[]{}|\\"
BEYOND = (
    TYPOS + "\u2019\u2018\u201c\u201d\u2013\u2014\u2026\u00e9\u00fc\u00bd\u00b0\u00b2\u20ac\u2022\u00d7\u200b\U0001f600"
)


def mistyped(text, alphabet, generator):
    """``text`` with one to three letters put in, left out, or exchanged."""
    letters = list(text)
    for _ in range(generator.randint(1, 3)):
        place, kind = generator.randrange(len(letters) + 1), generator.random()
        letters[place : place + (kind > 0.4)] = [] if 0.4 < kind < 0.7 else [generator.choice(alphabet)]
    return "".join(letters)


@pytest.mark.slow
@pytest.mark.parametrize(("alphabet", "most"), [(TYPOS, 10), (BEYOND, 25)], ids=["ascii", "beyond"])
def test_real_sentences_with_typing_errors(real_texts, alphabet, most):
    generator = random.Random(5)
    sentences = [text for text in real_texts if text.count(" ") > 2]
    texts = [mistyped(text, alphabet, generator) for text in sentences]
    assert len(texts) > 10_000
    wrong = [row for row in both(texts) if row[1] != row[2]]
    assert len(wrong) <= most, wrong[:20]


ODD = (
    "documen'ts can'the do n't isn'tt don`ts o\u2019clock do\u2019or \u2019em \u2019n \u201990s \u2019small it\u2019s "
    "bot\u2018tle @home foo@bar.com ^_^ ** << ph.d. &amp; &lt; &nbsp; \u00bd. 2\u00bd a\u00bd m\u00b2 2m\u00b2 "
    "a\u200bb \U0001f600hi \u2015 n't"
)


def test_odd_words():
    words = ODD.split()
    assert [row for row in both([*words, *(f"the {word} here" for word in words)]) if row[1] != row[2]] == []


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's a TV.", "it 's a tv ."),
        ("I can't, you cannot", "i ca n't , you can not"),
        ("the chairs' legs (four)", "the chairs ' legs -lrb- four -rrb-"),
        ("an l-shaped desk w/ 2.5 ft. legs", "an l-shaped desk w / 2.5 ft. legs"),
        ("", ""),
    ],
)
def test_tokens(text, tokens):
    assert tokenize(text) == tokens


def test_punctuation_goes():
    assert without_punctuation("`` hi '' , there -- wait ... -lrb- x -rrb- ?!") == "hi there wait -lrb- x -rrb- ?!"


def test_line_ends_inside_a_text_are_spaces():
    for _, own, java in both(["a\nb", "", "a\r\u2028b\x0bc\x85d", "  ", "last"]):
        assert own == java


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["e\u0301", "a;", "a,", "a.,", "<!a", "<a b", "a@;", "a-;", "'a", "(1"])
def test_the_work_of_our_rules_grows_with_the_length_of_a_text(unit):
    """A pattern that looks to the end of a text from each of its words does not end here in a minute."""
    assert own_tokens([unit * 2000 + " a chair"])[0].endswith("a chair")
