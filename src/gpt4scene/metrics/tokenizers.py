"""Penn Treebank tokens of captions, as the COCO caption metrics expect them: lower case, punctuation removed.

Stanford CoreNLP 3.4.1 (shipped with pycocoevalcap) makes the tokens; the texts of a call go through one run of it.
Without Java, and for texts that it would take too long for, our own rules do (``tokenizer_rules``).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gpt4scene.metrics.java import SHORT_WORK
from gpt4scene.metrics.tokenizer_rules import tokenize

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
"""Tokens that the COCO caption metrics drop. The bracket names never occur in lower-cased text; they are kept as is."""

_REPEATED_SYMBOL = re.compile("([\U0001f000-\U0001faff])\\1+")
"""The tokenizer drops such symbols, but takes a third of a millisecond for each: one of a run gives the same tokens."""

_LINE_ENDS = re.compile("[\n\r\v\f\x85\u2028\u2029]")


def one_line(text: str) -> str:
    """Return ``text`` with every character that ends a line turned into a space."""
    return _LINE_ENDS.sub(" ", text)


def without_punctuation(tokens: str) -> str:
    """Return a line of tokens without ``PUNCTUATION``, joined by single spaces."""
    return " ".join(token for token in tokens.rstrip().split(" ") if token not in PUNCTUATION)


def own_tokens(texts: Sequence[str]) -> list[str]:
    """Return the tokens of each text, joined by spaces, without Java."""
    return [without_punctuation(tokenize(one_line(text))) for text in texts]


def java_tokens(texts: Sequence[str], java: str, coco: Path) -> list[str]:
    """Return the tokens of each text, joined by spaces, from one run of the Java tokenizer.

    Raises ``RuntimeError`` when the program fails or answers another number of lines.
    """
    if not texts:
        return []
    command = [java, *SHORT_WORK, "-cp", str(coco / "tokenizer" / "stanford-corenlp-3.4.1.jar")]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    sent = "".join(_REPEATED_SYMBOL.sub(r"\1", one_line(text)) + "\n" for text in texts)
    run = subprocess.run(command, input=sent.encode(errors="replace"), capture_output=True, check=False)
    lines = run.stdout.decode().split("\n")[:-1]
    if run.returncode or len(lines) != len(texts):
        raise RuntimeError(
            f"the PTB tokenizer answered {len(lines)} lines for {len(texts)} texts (exit {run.returncode}): "
            f"{run.stderr.decode(errors='replace')[-300:].strip()}"
        )
    return [without_punctuation(line) for line in lines]
