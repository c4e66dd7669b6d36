from dataclasses import dataclass
from typing import Literal

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.settings import flags
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class Wanted(Arguments):
    """What to do."""

    scans: tuple[str, ...] = key("folders")
    out: str = key("folder")
    images: str | None = key("list", None, also=("pictures",))
    side: int = key("pixels", 512, least=28, most=1024)
    place: Literal["inside", "centroid"] = key("rule", "inside")
    overwrite: bool = key("again", False)
    penalty: float | None = key("number", None)
    compare: tuple[str, str] | None = key("two folders", None)


def read(*words, **defaults):
    return flags.read(Wanted, words, "gpt4scene try", defaults)


LEAST = ("--scans", "a", "--out", "o")


def test_values_have_the_types_of_the_fields():
    assert read(*LEAST) == Wanted(("a",), "o")
    found = read("--scans", "a", "b", "--out=o", "--side", "30", "--place", "centroid", "--penalty", "-1.5")
    assert found == Wanted(("a", "b"), "o", side=30, place="centroid", penalty=-1.5)
    assert read(*LEAST, "--compare", "x", "y").compare == ("x", "y")


@pytest.mark.parametrize("words", [["--side=99.5"], ["--side", "99.5"], ["--side", "1e2.5"], ["--side=0.999e2"]])
def test_a_whole_number_is_not_rounded(words):
    with pytest.raises(ConfigError, match="must be a whole number, not|into int"):
        read(*LEAST, *words)
    assert read(*LEAST, "--side=99.0").side == read(*LEAST, "--side", "9.9e1").side == 99


def test_spellings_that_mean_the_same():
    assert read(*LEAST, "--pictures", "p") == read(*LEAST, "--images=p")
    for yes in (["--overwrite"], ["--overwrite", "true"], ["--overwrite=True"]):
        assert read(*LEAST, *yes).overwrite is True
    assert read(*LEAST, "--overwrite", "false").overwrite is False


def test_the_last_of_two_wins_since_scripts_append():
    assert read(*LEAST, "--side", "40", "--side", "50", "--out", "p") == Wanted(("a",), "p", side=50)
    assert read("--scans", "a", "--out", "o", "--scans", "b", "c").scans == ("b", "c")


def test_defaults_stand_in_for_what_is_left_out():
    assert flags.read(Wanted, ["--scans", "a"], "x", {"out": "there"}).out == "there"
    assert flags.read(Wanted, ["--scans", "a", "--out", "mine"], "x", {"out": "there"}).out == "mine"


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["--scnas", "a"], ["--scnas is not a flag; did you mean '--scans'?", "--scans, --out are missing"]),
        (["--scans", "a"], ["--out is missing"]),
        ([*LEAST, "--side", "3"], ["--side must be between 28 and 1024, not 3"]),
        ([*LEAST, "--side", "ten"], ["--side", "ten"]),
        ([*LEAST, "--place", "insid"], ["--place", '"inside", "centroid"']),
        ([*LEAST, "--overwrite", "perhaps"], ["'perhaps' stands alone"]),
        (["stray", *LEAST], ["'stray' stands alone"]),
        (["--scans", "a", "--out="], ["--out is empty"]),
        (["--out", "o", "--scans"], ["--scans is empty"]),
    ],
)
def test_wrong_words_are_named_all_together(words, sentences):
    with pytest.raises(ConfigError) as caught:
        read(*words)
    for sentence in sentences:
        assert sentence in str(caught.value)


@pytest.mark.parametrize("flag", ["--socket", "--spanner", "--slide_mode"])
def test_hyphens_before_a_flag_make_it_no_nearer(flag):
    with pytest.raises(ConfigError, match=rf"{flag} is not a flag(;|$)") as caught:
        read(*LEAST, flag, "1")
    assert "did you mean" not in str(caught.value)


def test_arguments_made_in_code_are_checked_too():
    with pytest.raises(
        ConfigError, match="--place must be one of inside, centroid, not 'insid'; did you mean 'inside'"
    ):
        Wanted(("a",), "o", place="insid").check()
    with pytest.raises(ConfigError) as caught:
        Wanted((), "", side=5).check()
    assert len(caught.value.problems) == 3


def test_the_help_has_every_flag_with_its_sentence():
    text = flags.help_text([Wanted], "gpt4scene try", "tries")
    for word in (
        "gpt4scene try",
        "tries",
        "--scans STR...",
        "folders",
        "[default: 512]",
        "[choices: inside, centroid]",
    ):
        assert word in text


def test_a_value_may_begin_with_a_hyphen():
    assert read(*LEAST, "--images", "-").images == "-"
    assert read(*LEAST, "--penalty", "-1.5").penalty == -1.5
    with pytest.raises(ConfigError, match="side must be between 28 and 1024, not -3"):
        read(*LEAST, "--side", "-3")
