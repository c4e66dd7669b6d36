"""The tables of pages that are sums are what the planner and the published figures give."""

import pytest
from doc_pages import ROOT, maker

tables = maker("tables")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_tables_are_what_their_maker_gives(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # recipes name their DeepSpeed files from there
    text = (ROOT / "docs" / tables.TABLES[name][0]).read_text(encoding="utf-8")
    assert tables.page(name, text) == text, "run: python scripts/docs/tables.py"
    assert tables.TABLES[name][1]().count("\n|") >= 2


def test_hours_are_said_as_people_say_them():
    assert [tables.hours(number) for number in (0.2, 0.96, 5.88, 33.2)] == ["12 min", "1.0 h", "5.9 h", "33 h"]
