"""Turn maps into pictures."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

# Perceptually uniform: equal steps of the map look equal. matplotlib's name -> display name.
COLORMAPS = {
    "inferno": "Inferno",
    "viridis": "Viridis",
    "magma": "Magma",
    "cividis": "Cividis (colour-blind safe)",
    "gray": "Grey",
}
COLORMAP = "inferno"
# For differences, where the middle means no difference.
DIVERGING = "RdBu_r"
OPACITY = 0.67


def palette(colormap: str = COLORMAP) -> NDArray[np.uint8]:
    """The colours of 0, 1/255, ..., 1: uint8 (256, 3)."""
    return (mpl.colormaps[colormap](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


def overlay(
    view: NDArray[np.uint8], map_: Tensor, colormap: str = COLORMAP, opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """Lay a coloured map (H, W) in [0, 1] over the grey version of a view, uint8 (H, W, 3).

    The photograph is grey so that every visible colour belongs to the map; where the map is low, more of the photograph
    shows.
    """
    values = map_.detach().float().cpu().numpy()
    steps = (values * 255).round().astype(np.uint8)
    grey = view.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    low, high = opacity**3, 1 - (1 - opacity) ** 1.6  # opacity where the map is 0, and where it is 1
    cover = (low + (high - low) * values)[..., None]
    mixed = (1 - cover) * grey[..., None] + cover * palette(colormap)[steps]
    return mixed.round().clip(0, 255).astype(np.uint8)


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Encode a picture (H, W, 3) for an `img` tag, losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
