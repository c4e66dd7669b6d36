"""What processes find wrong before they can talk is said by the first of a node."""

import pytest

from gpt4scene import cli, launched
from gpt4scene.errors import ConfigError, DataError, Stopped
from gpt4scene.launched import OtherProcessFailed, alike


def failing(error):
    raise error


@pytest.mark.parametrize("error", [ConfigError("wrong call"), DataError("wrong file")], ids=["call", "file"])
@pytest.mark.parametrize("rank", ["0", "1", None])
@pytest.mark.parametrize("ended", [True, False])
def test_before_they_can_talk_the_first_of_a_node_says_it(monkeypatch, error, rank, ended):
    waits = []
    monkeypatch.setattr(launched.time, "sleep", lambda seconds: waits.append(seconds) or ended and failing(Stopped("")))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
        monkeypatch.setenv("RANK", str(8 + int(rank)))
    assert alike(lambda: 3) == 3
    quiet = rank == "1" and ended
    with pytest.raises(OtherProcessFailed if quiet else type(error)) as caught:
        alike(lambda: failing(error))
    assert waits == ([launched.GRACE_S] if rank == "1" else [])
    if quiet:
        assert caught.value.code == (2 if isinstance(error, ConfigError) else 1)


@pytest.mark.parametrize(
    "words",
    [["train", "--lernin_rate", "3"], ["train", "--quiet", "--verbose"], ["infer", "--modle", "m"]],
    ids=["key of training", "flags of every command", "flag"],
)
def test_a_wrong_call_waits_for_the_first_process(monkeypatch, capsys, words):
    def ended(seconds):
        raise Stopped("")

    monkeypatch.setattr(launched.time, "sleep", ended)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(OtherProcessFailed) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "")
