"""The sixteen photographs that scores are reported on.

All come from installed packages (scikit-image, scikit-learn, matplotlib), so no network connection is needed. The list,
including crops, was fixed by looking only at the pictures, before any score was computed: first every photograph of an
everyday object in those packages, in full, then clearly visible objects cut out of five of them. Excluded: pictures
without an object (`hubble_deep_field`, `retina`, textures, microscopy), the second view of the stereo pair, the
motion-blurred `clock_motion`, and `horse`, a binary silhouette.

The crops share pixels with the full pictures: these are sixteen pictures of ten scenes, so an interval over the sixteen
is too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import camviz

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}


@dataclass(frozen=True)
class Photo:
    """One photograph: a file in an installed package, and the box (x0, y0, x1, y1) cut out of it, if any."""

    name: str
    package: str
    file: str
    box: tuple[int, int, int, int] | None = None

    def load(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3)."""
        image = camviz.load_image(Path(str(files(self.package))) / _FOLDERS[self.package] / self.file)
        if self.box is None:
            return image
        x0, y0, x1, y1 = self.box
        return np.ascontiguousarray(image[y0:y1, x0:x1])


PHOTOS = (
    Photo("chelsea (cat)", "skimage", "chelsea.png"),
    Photo("coffee", "skimage", "coffee.png"),
    Photo("astronaut", "skimage", "astronaut.png"),
    Photo("rocket", "skimage", "rocket.jpg"),
    Photo("motorcycle", "skimage", "motorcycle_left.png"),
    Photo("camera (man)", "skimage", "camera.png"),
    Photo("coins", "skimage", "coins.png"),
    Photo("china (tower)", "sklearn", "china.jpg"),
    Photo("flower", "sklearn", "flower.jpg"),
    Photo("grace hopper", "matplotlib", "grace_hopper.jpg"),
    Photo("astronaut: helmet", "skimage", "astronaut.png", (280, 320, 512, 512)),
    Photo("astronaut: shuttle", "skimage", "astronaut.png", (302, 20, 512, 290)),
    Photo("coffee: spoon", "skimage", "coffee.png", (300, 180, 440, 340)),
    Photo("motorcycle: wheel", "skimage", "motorcycle_left.png", (495, 240, 705, 460)),
    Photo("camera: tripod", "skimage", "camera.png", (210, 290, 430, 512)),
    Photo("grace hopper: cap", "matplotlib", "grace_hopper.jpg", (120, 0, 420, 230)),
)
