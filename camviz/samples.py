"""Free photographs included in scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import skimage


@dataclass(frozen=True)
class Sample:
    """A photograph with its credit."""

    title: str
    credit: str
    file: str

    @property
    def path(self) -> Path:
        """The photograph's path in the installed package."""
        return Path(skimage.__file__).parent / "data" / self.file


SAMPLES = {
    sample.title: sample
    for sample in (
        Sample("Coffee", "Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0", "coffee.png"),
        Sample("Cat", "Chelsea, by Stéfan van der Walt, CC0", "chelsea.png"),
        Sample("Rocket", "SpaceX, DSCOVR launch, public domain", "rocket.jpg"),
        Sample("Motorcycle", "Middlebury 2014 stereo benchmark, Scharstein et al.", "motorcycle_left.png"),
        Sample("Cameraman", "Lav Varshney, CC0", "camera.png"),
        Sample("Astronaut", "Eileen Collins, NASA, public domain", "astronaut.png"),
        Sample("Coins", "Greek coins from Pompeii, Brooklyn Museum, no known restrictions", "coins.png"),
    )
}
