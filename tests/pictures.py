"""Pictures as files."""

import io

import numpy as np
from PIL import Image


def ramp(height: int = 8, width: int = 12) -> np.ndarray:
    """A picture of many values, made of integers only."""
    return (np.arange(height * width * 3).reshape(height, width, 3) * 37 % 256).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A picture, uint8 (h, w, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
