"""Addresses within the report: views of the table of all answers, and single answers."""

from __future__ import annotations

from urllib.parse import urlencode


def view(**filters: str) -> str:
    """Return the address of the table under ``filters``, such as ``#task=…&verdict=wrong``; empty ones are left out."""
    return "#" + urlencode({name: value for name, value in filters.items() if value})


def anchor(task: str, place: int) -> str:
    """Return the id of an answer on the page of its scene, where ``place`` counts the task's answers from 0."""
    return f"{task}-{place}"
