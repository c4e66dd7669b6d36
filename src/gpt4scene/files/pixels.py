"""One rule for how a stored image becomes 8-bit RGB: for scans, training, inference and pages alike."""

from __future__ import annotations

import numpy as np
from PIL import Image

MOST = 65535
"""The largest value of 16 bits."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image in RGB with 8 bits a channel; transparency is laid on white, as browsers' pages show it.

    Raises ``ValueError`` as ``eight_bits`` does.
    """
    if image.mode == "RGB":
        return image
    image = eight_bits(image)
    if "A" in image.getbands() or "a" in image.getbands() or image.info.get("transparency") is not None:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, (255, 255, 255, 255)), layered).convert("RGB")
    return image.convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Return ``image`` with 8 bits a channel: of 16 bits the upper 8 are kept, grey and colour alike.

    Pillow does so for colour, but cuts grey off at 255, which makes all of it white. Raises ``ValueError`` for
    fractions (mode F), for values beyond 16 bits, and for 16 bits of which only the lower 8 are used: nothing says
    what is white there.
    """
    if image.mode == "F":
        raise ValueError("it holds fractions instead of whole numbers; save it with 8 bits a channel")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0 or high > MOST:
        raise ValueError(f"its values go from {low} to {high}, beyond 16 bits; save it with 8 bits a channel")
    if 0 < high <= 255:
        raise ValueError(
            f"it has 16 bits, but no value above {high}, and would be black; save it with 8 bits a channel"
        )
    return Image.fromarray((values >> 8).astype(np.uint8))
