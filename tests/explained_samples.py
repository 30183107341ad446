"""Samples as the pages explain them."""

from camviz.robustness import Perturbation
from camviz.samples import SAMPLES
from camviz.ui import compute, nets


def coffee(noise: Perturbation | None = None, target: int | None = None) -> compute.Scene:
    """The sample "Coffee" and EfficientNet-Lite0, for a class or else for the likeliest."""
    sample = SAMPLES["Coffee"]
    picture = compute.picture(sample.path.read_bytes(), sample.title, sample.credit)
    sight = compute.Sight(picture, nets.get_net("efficientnet-lite0"), "crop", noise)
    return compute.scene(sight, compute.likeliest(sight) if target is None else target)
