import numpy as np
import pytest

from gpt4scene.metrics.scores import RowScores, breakdown


def scores(values, **groups):
    named = {name: tuple(group) for name, group in groups.items()}
    return RowScores(tuple(range(len(values))), ("room",) * len(values), named, {"EM1": np.array(values, dtype=float)})


def test_breakdown():
    rows = scores([1, 0, 1, 1], kind=["what", "what", "is", "is"])
    assert breakdown(rows, "kind") == {"is": {"rows": 2, "EM1": 1.0}, "what": {"rows": 2, "EM1": 0.5}}
    with pytest.raises(ValueError, match="no breakdown by 'label' .known: scene, kind."):
        breakdown(rows, "label")
