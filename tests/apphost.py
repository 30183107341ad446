"""The app's own host for tests: the pictures, networks and results that its pages share."""

import camviz
from camviz.images import Fit
from camviz.noise.measure import Perturbation
from camviz.samples import SAMPLES
from camviz.ui.server.sharing import shared_host
from camviz.workbench import networks, pictures
from camviz.workbench.maps import likeliest
from camviz.workbench.pictures import Explained, Picture, SeenPicture


def get_network(name: str) -> camviz.Net:
    return networks.get_network(shared_host(), name)


def read(data: bytes, title: str, credit: str = "") -> Picture:
    return pictures.read_picture(shared_host(), data, title, credit)


def seen(picture: Picture, net: camviz.Net, fit: Fit = "crop", noise: Perturbation | None = None) -> SeenPicture:
    return SeenPicture(shared_host(), picture, net, fit, noise)


def forget(picture_id: str) -> None:
    pictures.forget(shared_host(), picture_id)


def forget_everything() -> None:
    """Drop all networks, and all that was computed with them."""
    for cache in (shared_host().networks, shared_host().results):
        cache.forget(lambda key: True)


def coffee(noise: Perturbation | None = None, target: int | None = None) -> Explained:
    """The first photograph, as the pages explain it by default."""
    sample = SAMPLES["Coffee"]
    picture = read(sample.path.read_bytes(), sample.title, sample.credit)
    of = seen(picture, get_network("efficientnet-lite0"), noise=noise)
    return of.explaining(likeliest(of) if target is None else target)
