"""Samples as the pages explain them."""

from camviz.robustness import Perturbation
from camviz.samples import SAMPLES
from camviz.ui.engine import shared_host
from camviz.workbench.maps import likeliest
from camviz.workbench.networks import get_network
from camviz.workbench.pictures import Explained, SeenPicture, read_picture


def coffee(noise: Perturbation | None = None, target: int | None = None) -> Explained:
    """The sample "Coffee" and EfficientNet-Lite0, for a class or else for the likeliest."""
    host, sample = shared_host(), SAMPLES["Coffee"]
    picture = read_picture(host, sample.path.read_bytes(), sample.title, sample.credit)
    seen = SeenPicture(host, picture, get_network(host, "efficientnet-lite0"), noise=noise)
    return seen.explaining(likeliest(seen) if target is None else target)
