"""Numbers in text files are read in one go where nothing stands between them, and else line by line."""

import numpy as np
import pytest

from gpt4scene.errors import DataError
from gpt4scene.scans.geometry import product, product_of_pixels
from gpt4scene.scans.text_files import read_values


@pytest.mark.parametrize("text", ["1 2.5\n-3e2\n", "1, 2.5 # two\n\n# none\n-3e2", "1\f2.5\x85-3e2"])
def test_numbers_come_row_after_row_with_and_without_comments(tmp_path, text):
    (tmp_path / "values.txt").write_text(text, encoding="utf-8")
    assert read_values(tmp_path / "values.txt").tolist() == [1, 2.5, -300]


def test_the_line_that_is_no_numbers_is_named(tmp_path):
    (tmp_path / "values.txt").write_text("1 2\n3 four\n")
    with pytest.raises(DataError, match=r"values.txt, line 2: '3 four' is not a row of numbers"):
        read_values(tmp_path / "values.txt")
    with pytest.raises(DataError, match=r"absent.txt: the file does not exist"):
        read_values(tmp_path / "absent.txt")


def test_pixels_are_multiplied_as_points_with_a_third_coordinate_of_1():
    """Bit by bit: images do not change with the way in which a ray is computed."""
    generator = np.random.default_rng(0)
    pixels, matrix = generator.integers(0, 2000, (500, 2)), generator.normal(size=(3, 3))
    points = np.concatenate([pixels, np.ones((500, 1))], axis=1)
    assert np.array_equal(product_of_pixels(pixels, matrix), product(points, matrix))
