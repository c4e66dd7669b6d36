from pathlib import Path

import pytest

from gpt4scene.data.encoding import Encoder, RowTooLong
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import DataError
from gpt4scene.training.run_data import screen


class CountingTokenizer:
    """Counts the texts that are really tokenised."""

    def __init__(self, tokenizer):
        self.tokenizer, self.texts = tokenizer, []

    def encode(self, text, *, add_special_tokens):
        self.texts.append(text)
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def make_encoder(tokenizer, rule, cutoff_len):
    return Encoder(tokenizer, TEMPLATES["qwen2_vl"], rule, cutoff_len)


def test_long_rows_stop_or_are_listed(tokenizer, rule, make_row, images):
    rows = [make_row(images, "Short?", "Yes."), make_row(images, "Long? " * 300, "No.", 1)]
    encoder = make_encoder(tokenizer, rule, 300)
    with pytest.raises(RowTooLong, match="row 1"):
        screen(rows, encoder)
    screened = screen(rows, encoder, skip_bad_rows=True)
    assert screened.rows == rows[:1] and len(screened.skipped) == 1 and "row 1" in screened.skipped[0]


def test_a_row_between_its_byte_count_and_its_token_count_is_kept(tokenizer, rule, make_row, images):
    row = make_row(images, "Where is the door of the room? " * 5, "There.")
    length = len(make_encoder(tokenizer, rule, None).encode(row).ids_L)
    encoder = make_encoder(tokenizer, rule, length)
    assert encoder.length_bound(row) > length
    assert screen([row], encoder).rows == [row]


def test_rows_that_surely_fit_are_not_tokenised(tokenizer, rule, make_row, images):
    counting = CountingTokenizer(tokenizer)
    encoder = make_encoder(counting, rule, 32768)
    screen([make_row(images, f"Question {i}?", "Yes.", i) for i in range(50)], encoder)
    assert not any("Question" in text for text in counting.texts)


def test_missing_and_empty_images_are_found_before_training(encoder, make_row, images):
    Path(images[1]).write_bytes(b"")
    rows = [make_row(images[:1], "A?", "Yes."), make_row(images, "B?", "No.", 1)]
    with pytest.raises(DataError, match=r"p1\.png .needed by demo\.json, row 1.*empty"):
        screen(rows, encoder)
    assert screen(rows, encoder, skip_bad_rows=True).rows == rows[:1]
    with pytest.raises(DataError, match="none of 1 rows can be used; the first because of image"):
        screen(rows[1:], encoder, skip_bad_rows=True)
