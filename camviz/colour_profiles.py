"""Colour profiles of pictures, which say what red, green and blue their numbers mean."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import cast

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of profiles -> of pictures
_MAX_BYTES = 8 * 2**20  # the largest common profiles, of printers, have some 3 MB


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture to RGB, and its colours from an ICC profile to sRGB.

    A profile that is damaged, or for another kind of colours than the picture's, is ignored; so is one that changes
    no colour by more than 1 of 255, such as sRGB itself.

    Args:
        picture: of any mode without transparency that Pillow converts to RGB.
        profile: the bytes of its profile, or None.
    """
    if profile and len(profile) <= _MAX_BYTES:
        try:
            mode, transform = _transform(profile)
            fits = picture.mode == mode or (mode == "RGB" and picture.mode != "CMYK")
            if transform is not None and fits:
                return cast(Image.Image, ImageCms.applyTransform(_in_mode(picture, mode), transform))
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # the picture is fine without it
    return _in_mode(picture, "RGB")


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    return picture if picture.mode == mode else picture.convert(mode)


@lru_cache(4)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode of the pictures that a profile is for, and the transform to sRGB; None if that changes nothing.

    Raises:
        ValueError, OSError or PyCMSError: a damaged profile, or one for another kind of colours.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if space not in _MODES:
        raise ValueError(f"no pictures have colours of the kind {space!r}")
    mode = _MODES[space]
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    colours = _some_colours(mode)
    moved, unmoved = ImageCms.applyTransform(colours, transform), colours.convert("RGB")
    apart = np.abs(np.asarray(moved, int) - np.asarray(unmoved, int)).max()
    return mode, transform if apart > 1 else None


def _some_colours(mode: str) -> Image.Image:
    """All combinations of some values of each band."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    steps = np.linspace(0, 255, 256 if bands == 1 else 9 if bands == 3 else 5).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * bands), -1).reshape(1, -1, bands)
    return Image.fromarray(grid[..., 0] if bands == 1 else grid, mode)
