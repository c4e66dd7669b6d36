"""METEOR with the paraphrases that texts can use answers as it does with its whole table."""

import gzip
import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gpt4scene.metrics.java import coco_folder, find_java
from gpt4scene.metrics.meteor import JAR, TABLE
from gpt4scene.metrics.paraphrases import MOST_LETTERS, ParaphraseTable, _part, phrases

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


def test_runs_cross_punctuation_and_spaces():
    found = phrases(["the l-shaped u.s. desk"])
    assert {b"the", b"lshaped", b"shaped", b"us", b"usdesk", b"thelshapedusdesk"} <= found
    assert b"thedesk" not in found
    assert b"abcdefg" in phrases(["a b c d e f g h"]) and b"abcdefgh" not in phrases(["a b c d e f g h"])


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
    assert max(map(len, phrases([text])), default=0) <= MOST_LETTERS


PHRASES = some.text("ab ", max_size=20) | some.sampled_from(["a" * 7, "a" * 8, "a" * 9, "a" * 17, "a" * 16 + "b"])


@given(
    some.lists(some.tuples(some.sampled_from(["1", "0.25"]), PHRASES, PHRASES)), some.sampled_from(["", "1\na", "1"])
)
def test_neighbours_with_the_same_phrase_are_one_group(records, rest):
    """Phrases of any length, the same and nearly the same, and a record that goes on in the next block."""
    records = sorted(records, key=lambda record: record[1])
    text = "".join(f"{number}\n{phrase}\n{other}\n" for number, phrase, other in records)
    part = _part((text + rest).encode())
    assert part.end == len(text)
    found = [text[first:last] for first, last in zip(part.firsts, part.lasts, strict=True)]
    assert found == list(dict.fromkeys(phrase for _, phrase, _ in records))
    for phrase, start, end in zip(found, part.starts, part.starts[1:], strict=False):
        assert set(text[start:end].split("\n")[1::3]) == {phrase}
