"""Names of devices, understood before torch is imported."""

from __future__ import annotations


def device_problems(name: str) -> list[str]:
    """Return a sentence where ``name`` is no device: not auto, cpu, cuda or cuda:<n>."""
    kind, colon, number = name.partition(":")
    whole = number.isdecimal() if colon else True
    if name == "auto" or kind == "cuda" and whole or kind == "cpu" and number in ("", "0") and whole:
        return []
    return [f"--device {name} is no device of this program; choose auto, cpu, cuda or cuda:<n>"]
