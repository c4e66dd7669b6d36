"""METEOR with the paraphrases that texts can use answers as it does with its whole table."""

import gzip
import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gpt4scene.metrics.java import coco_folder, find_java
from gpt4scene.metrics.meteor import JAR, TABLE
from gpt4scene.metrics.paraphrases import LONGEST, ParaphraseTable, SortedRecords, words_of

WORDS = """
it is next to the large big couch sofa in front of beside near by table desk chair seat on top of above which that there
are is a an one two 2 trash can bin garbage to the left right side hand u.s. o'clock don't n't l-shaped t-shirt rack
dark-brown 1/2 caf\u00e9 \u00e9 ??? ... all of them each every piece of furniture place where you can sit
"""


@pytest.fixture(scope="module")
def coco():
    if find_java() is None or coco_folder() is None:
        pytest.skip("METEOR needs Java and pycocoevalcap")
    return coco_folder()


def answers(coco, lines, table):
    flags = ["-", "-", "-stdio", "-l", "en", "-norm", *(["-a", str(table)] if table else [])]
    command = [find_java(), "-Xmx2G", "-jar", str(coco / JAR), *flags]
    return subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_statistics_stay_the_same(coco, tmp_path):
    generator = random.Random(0)
    texts = [" ".join(generator.choices(WORDS.split(), k=generator.randint(1, 14))) for _ in range(3000)]
    lines = [f"SCORE ||| {one} ||| {two}" for one, two in zip(texts, texts[1:], strict=False)]
    content = ParaphraseTable(coco / TABLE).relevant(texts)
    (tmp_path / "few.gz").write_bytes(content)
    (tmp_path / "none.gz").write_bytes(gzip.compress(b""))
    whole = answers(coco, lines, None)
    assert answers(coco, lines, tmp_path / "few.gz") == whole
    assert answers(coco, lines, tmp_path / "none.gz") != whole
    assert 0 < gzip.decompress(content).count(b"\n") // 3 < 50_000


def test_words_are_cut_at_punctuation_and_lose_single_dots():
    assert words_of("The l-shaped u.s. desk... caf\u00e9\u2019s 1/2 x..y") == [
        *("the", "l", "shaped", "us", "desk", "caf\u00e9", "\u2019", "s", "1", "2", "x", "y")
    ]


def test_another_table_is_left_to_meteor(tmp_path):
    for content in (b"", gzip.compress(b"0.5\na\nb\n")):
        path = tmp_path / "paraphrase-en.gz"
        path.write_bytes(content)
        assert ParaphraseTable(path).relevant(["a b"]) is None
    assert ParaphraseTable(tmp_path / "missing.gz").relevant(["a b"]) is None


def test_a_damaged_table_is_left_to_meteor(coco, tmp_path):
    content = bytearray((coco / TABLE).read_bytes())
    content[1000:1010] = bytes(10)
    (tmp_path / "table.gz").write_bytes(content)
    assert ParaphraseTable(tmp_path / "table.gz").relevant(["a b"]) is None


@pytest.mark.parametrize("text", ["chair " * 40000, "a-" * 80000, "a" * 10**6, " ".join(map(str, range(30000)))])
def test_long_texts_are_read_in_a_time_that_grows_with_their_length(text):
    assert list(SortedRecords(b"1\nchair\nseat\n").among([words_of(text)])) == []


WORD = some.sampled_from(["a", "b", "ab", "abc", "b\u00e9", "\u2014"])
PHRASE = some.lists(WORD, min_size=1, max_size=8).map(" ".join)
RECORD = some.tuples(some.sampled_from(["1", "0.25", "a"]), PHRASE, PHRASE)


@pytest.mark.slow
@given(some.lists(RECORD), some.lists(PHRASE), some.integers(1, 40))
def test_records_are_found_wherever_they_lie(records, texts, size):
    """Those of which the first phrase occurs, of up to ``LONGEST`` words, and every step of the other one."""
    records = sorted(records, key=lambda record: record[1].encode())
    wanted = []
    for number, one, other in records:
        occurs = any(f" {one} " in f" {text} " for text in texts) and len(one.split()) <= LONGEST
        steps = [other.split(), *zip(other.split(), other.split()[1:], strict=False)]
        steps = [*map(str, steps[0]), *map(" ".join, steps[1:])]
        if occurs and all(any(f" {step} " in f" {text} " for text in texts) for step in steps):
            wanted.append(f"{number}\n{one}\n{other}\n".encode())
    table = SortedRecords("".join("\n".join(record) + "\n" for record in records).encode(), size)
    assert list(table.among([text.split() for text in texts])) == wanted
