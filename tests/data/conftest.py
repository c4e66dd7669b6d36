"""Rows about one scene and their encoder, shared by the tests of data and files."""

from scene_rows import encoder, images, make_row, rule, tokenizer  # noqa: F401
