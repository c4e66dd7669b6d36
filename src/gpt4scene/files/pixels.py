"""One rule for how a stored image becomes 8-bit colour: for scans, training, inference and pages alike."""

from __future__ import annotations

import numpy as np
from PIL import Image

MAY_MOVE = ("GIF", "WEBP", "PNG", "TIFF")
"""Formats whose files may hold several pictures. A phone's JPEG does too (MPO), and its first is the photograph."""
WHITE = (255, 255, 255, 255)


def still(image: Image.Image) -> Image.Image:
    """Return the opened ``image``. Raises ``ValueError`` for one that moves or has pages: only one would be seen."""
    pictures = getattr(image, "n_frames", 1) if image.format in MAY_MOVE else 1
    if pictures > 1:
        raise ValueError(f"it holds {pictures} pictures, of which only the first would be seen; save each as a file")
    return image


def rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` in RGB, 8 bits a channel; transparency is laid on white, as by Qwen and Hugging Face.

    Raises ``ValueError`` as ``eight_bits`` does, and for an image that is transparent throughout.
    """
    if image.mode == "RGB":
        return image
    image = eight_bits(image)
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (0, 0):
        raise ValueError("it is transparent throughout, and so would be white; save it without transparency")
    return Image.alpha_composite(Image.new("RGBA", layered.size, WHITE), layered).convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Return ``image`` with 8 bits a channel: of 16 bits the upper 8 are kept, grey and colour alike.

    Pillow does so for colour, but cuts grey off at 255, which makes all of it white. Raises ``ValueError`` for
    fractions (mode F), of which nothing says what is white, for grey whose upper 8 bits are empty, as where 8 bits were
    saved as 16, and for values that are none of 16 bits.
    """
    if image.mode == "F":
        raise ValueError("it holds fractions instead of whole numbers; save it with 8 bits a channel")
    if not image.mode.startswith("I"):
        return image
    values_HW = np.asarray(image).astype(np.int64)
    least, most = int(values_HW.min()), int(values_HW.max())
    if least < 0 or most > 65535:
        raise ValueError(f"its values reach from {least} to {most}, past 16 bits; save it with 8 bits a channel")
    if 0 < most < 256:
        raise ValueError(f"its values reach to {most} of 65535, which would be black; save it with 8 bits a channel")
    return Image.fromarray((values_HW >> 8).astype(np.uint8))
