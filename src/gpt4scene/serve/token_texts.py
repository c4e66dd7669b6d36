"""Single tokens as texts and bytes, as the API gives them beside log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpt4scene.inference.tokens import Token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def _letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for.

    Printed letters of Latin-1 stand for themselves, other bytes for letters from 256 on, in order (GPT-2's encoder).
    """
    themselves = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in themselves]
    return {chr(byte): byte for byte in themselves} | {chr(256 + place): byte for place, byte in enumerate(others)}


class TokenTexts:
    """Says what tokens of a byte-level ``tokenizer`` hold."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer, self._letters = tokenizer, _letters()
        self._added = set(tokenizer.get_added_vocab().values())  # pyright: ignore  (of every tokenizer)

    def bytes_of(self, number: int) -> bytes:
        """Return the bytes of a token; those of its name where it was added to the vocabulary."""
        name = self._tokenizer.convert_ids_to_tokens(number)
        assert isinstance(name, str)
        if number in self._added or not all(letter in self._letters for letter in name):
            return name.encode()
        return bytes(self._letters[letter] for letter in name)

    def entry(self, token: Token) -> dict[str, Any]:
        """Return what the API says of a generated token: its log-probability, and the likeliest in its place."""
        top = [self._one(number, chance) for number, chance in token.top]
        return self._one(token.id, token.logprob) | {"top_logprobs": top}

    def _one(self, number: int, logprob: float | None) -> dict[str, Any]:
        content = self.bytes_of(number)
        least = -9999.0  # OpenAI's number for a token that is hardly possible; JSON has no infinity
        chance = least if logprob is None else max(logprob, least)
        return {"token": content.decode(errors="replace"), "logprob": chance, "bytes": list(content)}
