"""Maps -> pictures."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

# Perceptually uniform: equal steps of the map look like equal steps.
COLORMAP = "inferno"
# How much of the colour covers the photograph where the map is 0, and where it is 1.
OPACITY = (0.3, 0.85)


def colour(map_: Tensor) -> NDArray[np.uint8]:
    """Colour a map (H, W) in [0, 1] -> uint8 (H, W, 3)."""
    table = (mpl.colormaps[COLORMAP](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    steps = (map_.detach().float().cpu().numpy() * 255).round().astype(np.uint8)
    return table[steps]


def overlay(view: NDArray[np.uint8], map_: Tensor) -> NDArray[np.uint8]:
    """Lay a coloured map (H, W) over the grey version of a view, uint8 (H, W, 3).

    The photograph's own colours are left out, so that every colour seen belongs to the map; where the map is
    low, more of the photograph shows.
    """
    grey = view.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    cover = _cover(map_.detach().float().cpu().numpy())[..., None]
    mixed = (1 - cover) * grey[..., None] + cover * colour(map_)
    return mixed.round().clip(0, 255).astype(np.uint8)


def overlay_gradient(steps: int = 12) -> str:
    """Return the colours that an overlay has on mid-grey as a CSS gradient, low values left."""
    values = np.linspace(0, 1, steps)
    cover = _cover(values)[:, None]
    mixed = (1 - cover) * 0.5 + cover * mpl.colormaps[COLORMAP](values)[:, :3]
    return f"linear-gradient(to right, {', '.join(mpl.colors.to_hex(colour) for colour in mixed)})"


def _cover(values: NDArray[np.floating]) -> NDArray[np.floating]:
    low, high = OPACITY
    return low + (high - low) * values


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Encode a picture (H, W, 3) losslessly for an `img` tag."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
