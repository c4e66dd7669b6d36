"""Rows about one scene and their encoder, shared by the tests of data and files."""

from scene_rows import encoder, make_row, pictures, spec, tokenizer  # noqa: F401
