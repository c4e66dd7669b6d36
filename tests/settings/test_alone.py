"""Words that stand alone: places of ``view``, the question of ``ask``."""

import pytest

from gpt4scene.chat.arguments import AskArguments
from gpt4scene.errors import ConfigError
from gpt4scene.settings.alone import YES_OR_NO, view_flags, with_question
from gpt4scene.settings.arguments import hints_of


def test_places_that_stand_first_are_scenes():
    assert view_flags(["a", "b", "--port", "1"]) == ["--scenes", "a", "b", "--port", "1"]
    assert view_flags(["--scenes", "a"]) == ["--scenes", "a"]


def test_the_question_may_stand_alone_before_or_behind_the_flags():
    for words in (["What?", "--model", "m", "--scene=s"], ["--model", "m", "--crop_to_patches", "What?", "--scene=s"]):
        assert "--question=What?" in with_question(words)
    assert with_question(["--model", "m"]) == ["--model", "m"]
    with pytest.raises(ConfigError, match="'is' stands alone; write the question in quotes"):
        with_question(["--model", "m", "What", "is"])


def test_flags_of_ask_that_are_yes_or_no_are_known():
    assert {name for name, hint in hints_of(AskArguments).items() if hint is bool} == YES_OR_NO
