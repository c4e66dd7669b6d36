"""BLEU, ROUGE-L and CIDEr of tokenized texts, with n-grams counted once for all groups of texts and all metrics.

The figures are those of the COCO caption evaluation (pycocoevalcap), which counts in Python dictionaries, text by text.
Here a text is a row of a sparse count matrix. BLEU: Papineni et al., ACL 2002; ROUGE-L: Lin, 2004; CIDEr (its D form):
Vedantam et al., CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Pair = tuple[str, tuple[str, ...]]
"""Tokens of an answer, and the tokens of its references, each joined by single spaces."""

LONGEST = 4
"""Words of the longest n-grams that BLEU and CIDEr count."""
_TINY, _SMALL = 1e-15, 1e-9
"""What BLEU adds to matches and to counts, so that nothing divides by zero."""
_SIGMA = 6.0
"""CIDEr's tolerance to answers of another length than the reference, in words."""
_BETA = 1.2
"""ROUGE-L's weight of recall against precision."""


@dataclass(frozen=True)
class CaptionScores:
    """What BLEU of a group sums up (``bleu`` scores the sums); ROUGE-L and CIDEr of every pair, float64[B] each.

    Columns: for n-grams of 1 to 4 words those matched, then those said; words said, words of the closest reference.
    """

    bleu_B10: np.ndarray
    rouge_l_B: np.ndarray
    cider_B: np.ndarray


class CaptionMetrics:
    """Scores groups of pairs whose texts were all named at the start."""

    def __init__(self, groups: Iterable[Sequence[Pair]]) -> None:
        texts = dict.fromkeys(text for group in groups for answer, refs in group for text in (answer, *refs))
        texts.pop("", None)
        # Row 0 is the empty text; it also stands for the references that a pair with fewer than others does not have.
        self._row = {text: row for row, text in enumerate(["", *texts])}
        words = [text.split() for text in self._row]
        self._length_T = np.array([len(text) for text in words])
        self._counts = _ngram_counts(words)
        self._rouge_l: dict[Pair, float] = {}

    def score(self, group: Sequence[Pair]) -> CaptionScores:
        """Return the scores of ``group``, one of those named at the start or made of their pairs."""
        answer_B = np.array([self._row[answer] for answer, _ in group])
        reference_BK = np.zeros((len(group), max(len(refs) for _, refs in group)), dtype=np.int64)
        for row, (_, refs) in enumerate(group):
            reference_BK[row, : len(refs)] = [self._row[text] for text in refs]
        number_B = np.array([len(refs) for _, refs in group])
        matched_B, cider_B = [], np.zeros(len(group))
        for counts_TG in self._counts:
            said_BG = counts_TG[answer_B]
            most_BG = counts_TG[reference_BK[:, 0]]
            for reference_B in reference_BK[:, 1:].T:
                most_BG = most_BG.maximum(counts_TG[reference_B])
            matched_B.append(said_BG.minimum(most_BG).sum(axis=1))
            cider_B += self._cider(counts_TG, most_BG, answer_B, reference_BK, number_B)
        for pair in group:
            if pair not in self._rouge_l:
                self._rouge_l[pair] = rouge_l(*pair)
        return CaptionScores(
            np.column_stack([*matched_B, *self._lengths(answer_B, reference_BK, number_B)]),
            np.array([self._rouge_l[pair] for pair in group]),
            cider_B * 10.0 / LONGEST,
        )

    def _lengths(self, answer_B: np.ndarray, reference_BK: np.ndarray, number_B: np.ndarray) -> list[np.ndarray]:
        """Return how many n-grams of each length every answer has, its words, and those of its closest reference.

        Of two references as close as each other the shorter one counts.
        """
        said_B, wanted_BK = self._length_T[answer_B], self._length_T[reference_BK]
        off_BK = np.abs(wanted_BK - said_B[:, None]) * (wanted_BK.max() + 1) + wanted_BK
        off_BK[np.arange(off_BK.shape[1]) >= number_B[:, None]] = np.iinfo(np.int64).max
        wanted_B = np.take_along_axis(wanted_BK, off_BK.argmin(axis=1)[:, None], axis=1)[:, 0]
        return [*(np.maximum(said_B - shorter, 0) for shorter in range(LONGEST)), said_B, wanted_B]

    def _cider(
        self,
        counts_TG: csr_array,
        most_BG: csr_array,
        answer_B: np.ndarray,
        reference_BK: np.ndarray,
        number_B: np.ndarray,
    ) -> np.ndarray:
        """Return the mean likeness of every answer to its references in n-grams of one length, float64[B].

        An n-gram weighs the more, the fewer pairs of the group have it in a reference.
        """
        texts, place = np.unique(np.concatenate([answer_B, reference_BK.ravel()]), return_inverse=True)
        weight_G = np.log(len(answer_B)) - np.log(
            np.maximum(np.bincount(most_BG.indices, minlength=int(counts_TG.indices.max(initial=0)) + 1), 1)
        )
        weighted_TG = counts_TG[texts]
        weighted_TG.data = weighted_TG.data * weight_G[weighted_TG.indices]
        norm_T = np.sqrt(weighted_TG.power(2).sum(axis=1))
        owner_P, slot_P = np.nonzero(np.arange(reference_BK.shape[1]) < number_B[:, None])
        said_P = place[: len(answer_B)][owner_P]
        reference_P = place[len(answer_B) :].reshape(reference_BK.shape)[owner_P, slot_P]
        wanted_PG = weighted_TG[reference_P]
        common_P = weighted_TG[said_P].minimum(wanted_PG).multiply(wanted_PG).sum(axis=1)
        norms_P = norm_T[said_P] * norm_T[reference_P]
        likeness_P = np.divide(common_P, norms_P, out=np.zeros(len(norms_P)), where=norms_P > 0)
        bigrams_T = np.maximum(self._length_T[texts] - 1, 0)
        off_P = (bigrams_T[said_P] - bigrams_T[reference_P]).astype(np.float64)
        likeness_P *= np.exp(-(off_P**2) / (2 * _SIGMA**2))
        return np.bincount(owner_P, weights=likeness_P, minlength=len(answer_B)) / number_B


def bleu(sum_10: np.ndarray) -> np.ndarray:
    """Return BLEU of 1 to 4 words, float64[..., 4], where ``CaptionScores`` statistics sum to ``[..., 10]``."""
    share_4 = (sum_10[..., :LONGEST] + _TINY) / (sum_10[..., LONGEST : 2 * LONGEST] + _SMALL)
    ratio = (sum_10[..., -2:-1] + _TINY) / (sum_10[..., -1:] + _SMALL)
    brevity = np.exp(np.minimum(1 - 1 / ratio, 0))
    return np.cumprod(share_4, axis=-1) ** (1 / np.arange(1, LONGEST + 1)) * brevity


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """Return ROUGE-L: best precision and best recall of the longest common subsequence over all references."""
    said = answer.split(" ")
    places = _places(said, {word for text in references for word in text.split(" ")})
    precision = recall = 0.0
    for text in references:
        wanted = text.split(" ")
        common = _common_subsequence(places, len(said), wanted)
        precision, recall = max(precision, common / len(said)), max(recall, common / len(wanted))
    if not (precision and recall):
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _places(said: Sequence[str], wanted: set[str]) -> dict[str, int]:
    """Return, for each word of ``wanted`` that ``said`` has, its positions there as the bits of an integer.

    The digits are written first and read at once: bit by bit, each step would copy the whole integer.
    """
    digits: dict[str, bytearray] = {}
    for number, word in enumerate(said):
        if word in wanted:
            if word not in digits:
                digits[word] = bytearray(b"0") * len(said)
            digits[word][-1 - number] = ord("1")
    return {word: int(found, 2) for word, found in digits.items()}


def _common_subsequence(places: dict[str, int], length: int, words: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a whole row of its table in one integer.

    ``places`` holds the positions of each word in the other text as bits. Hyyrö 2004, "Bit-parallel LCS-length
    computation revisited".
    """
    everything = (1 << length) - 1
    row = everything
    for word in words:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & everything
    return length - row.bit_count()


def _ngram_counts(words: Sequence[Sequence[str]]) -> list[csr_array]:
    """Return how often each n-gram stands in each text, float64[T, G] for n-grams of 1 to 4 words."""
    from scipy.sparse import csr_array

    number: dict[str, int] = {}
    word_L = np.array([number.setdefault(word, len(number)) for text in words for word in text], dtype=np.int64)
    text_L = np.repeat(np.arange(len(words)), [len(text) for text in words])
    found, gram_L = [], word_L
    for length in range(1, LONGEST + 1):
        if length > 1:
            start_L = text_L[: -(length - 1) or None] == text_L[length - 1 :]
            pairs_L = gram_L[: len(start_L)] * len(number) + word_L[length - 1 :]
            gram_L = np.full(len(start_L), -1, dtype=np.int64)
            gram_L[start_L] = np.unique(pairs_L[start_L], return_inverse=True)[1]
        whole_L = gram_L >= 0
        shape = (len(words), max(1, int(gram_L.max(initial=0)) + 1))
        counts = csr_array((np.ones(whole_L.sum()), (text_L[: len(gram_L)][whole_L], gram_L[whole_L])), shape=shape)
        counts.sum_duplicates()
        found.append(counts)
    return found
