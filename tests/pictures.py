"""Pictures as files."""

import io

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """A picture, uint8 (h, w, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
