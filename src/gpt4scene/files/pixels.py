"""One rule for how a stored image becomes 8-bit colour: for scans, training, inference and pages alike."""

from __future__ import annotations

import numpy as np
from PIL import Image


def eight_bits(image: Image.Image) -> Image.Image:
    """Return ``image`` with 8 bits a channel: of 16 bits the upper 8 are kept, grey and colour alike.

    Pillow does so for colour, but cuts grey off at 255, which makes all of it white. Raises ``ValueError`` for
    fractions (mode F), of which nothing says what is white.
    """
    if image.mode == "F":
        raise ValueError("it holds fractions instead of whole numbers; save it with 8 bits a channel")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
