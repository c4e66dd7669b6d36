"""A YAML file and the words of a command line, as keys and values with the place where each was written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FLAGS = "command line"


@dataclass(frozen=True)
class Entry:
    """One key as somebody wrote it: ``source`` is the file's name or ``FLAGS``; ``bare`` is a flag without value."""

    key: str
    value: Any
    source: str
    bare: bool = False

    @property
    def name(self) -> str:
        """The key in quotes, as it was written."""
        return f"'--{self.key}'" if self.source == FLAGS else f"'{self.key}'"

    @property
    def place(self) -> str:
        """File or command line, and the key: the beginning of a sentence about it."""
        return f"{self.source}: {self.name}"


def place(entries: Sequence[Entry]) -> str:
    """Return the beginning of a sentence about entries of one source, with its verb."""
    names = ", ".join(entry.name for entry in entries)
    return f"{entries[0].source}: {names} {'is' if len(entries) == 1 else 'are'}"


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key written twice is an error, and numbers mean what they look like.

    YAML 1.1 reads ``010`` as 8 and ``1:30`` as 90; here the first is 10 and the second a text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key_node.value for key_node, _ in node.value if isinstance(key_node, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.MarkedYAMLError(problem=f"'{name}' is written twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def number_or_text(self, node: yaml.ScalarNode) -> int | float | str:
        """Return the number, or the text as it stands where YAML 1.1 has a meaning of its own for it."""
        text = str(self.construct_scalar(node))
        if ":" in text or re.match(r"[-+]?0[0-9_]", text):
            return text
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


for _tag in ("int", "float"):
    _UniqueKeys.add_constructor(f"tag:yaml.org,2002:{_tag}", _UniqueKeys.number_or_text)


def read_file(path: str, problems: list[str]) -> list[Entry]:
    """Return the keys of a YAML file in order; what is wrong with it is added to ``problems``."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 (a safe loader)
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); the first word must be a YAML file or a --flag")
        return []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is no YAML: {' '.join(str(error).split())}")
        return []
    if not isinstance(content, dict):
        problems.append(f"{path}: must hold 'key: value' lines" + (", but it is empty" if content is None else ""))
        return []
    if isinstance(config := content.get("config"), dict) and "training" in config:
        problems.append(f"{path}: is the record of a run, not its settings; --from {path} repeats that run")
        return []
    return [Entry(str(name), value, path) for name, value in content.items()]


def read_flags(words: Sequence[str], problems: list[str]) -> list[Entry]:
    """Return flags in order, each as it was given last; several words after one are a list, none at all means true."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found.append((name.replace("-", "_"), [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            problems.append(f"{FLAGS}: '{word}' stands alone; write --key value")
    last = {name: values for name, values in found}
    return [
        Entry(name, True if not values else values[0] if len(values) == 1 else values, FLAGS, not values)
        for name, values in last.items()
    ]
