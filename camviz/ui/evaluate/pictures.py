"""Maps of a study as pictures: those that a metric orders rightly or wrongly, with links to Explore."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from urllib.parse import urlencode

import torch

from camviz import shapes
from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.recipe import Recipe, explain
from camviz.render import data_uri, overlay
from camviz.trust.ranked_maps import default_recipes
from camviz.trust.run import EvaluationRun
from camviz.trust.sealed_samples import FIRST, KINDS, Kind, draw
from camviz.trust.sealed_study import PARTS
from camviz.ui.evaluate.study import Example, Gallery, Shown, Study, examples, rows_of
from camviz.ui.links.link_format import Explored, write
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import shared_host
from camviz.workbench.maps import get_view, merged
from camviz.workbench.networks import get_network

_EXAMPLES = 2  # of each kind
_NETWORKS = {part.network for part in PARTS}
# What Explore calls each kind of samples.
_EXPLORED: dict[Kind, str] = {"plain": "one shape", "textured": "textured", "tagged": "with a wrong tag"}


@dataclass(frozen=True)
class SealedGallery:
    """The sealed samples of a kind: drawn and explained again."""

    kind: Kind

    def overlay(self, network: str, picture: int, name: str) -> str:
        """A map over its picture, as a data URI; "" for one that is not the study's, which a file may hold."""
        return _sealed_overlay(self.kind, network, picture, name) if _is_of_the_study(network, picture, name) else ""

    def address(self, network: str, picture: int, name: str) -> str:
        """The address that opens a map in Explore; "" for one that is not the study's."""
        if not _is_of_the_study(network, picture, name):
            return ""
        return shape_address(_EXPLORED[self.kind], picture, network, _recipes(network)[name])


def gallery_of(kind: str) -> Gallery:
    """The sealed samples of a kind; for other rows, nothing."""
    return next((SealedGallery(known) for known in KINDS if known == kind), NoGallery())


@lru_cache(maxsize=128)
def _sealed_overlay(kind: Kind, network: str, picture: int, name: str) -> str:
    host = shared_host()
    net, sample = get_network(host, network), draw(kind, picture)
    with gpu_memory(net), host.working():
        target = torch.tensor([sample.label], device=net.device)
        maps = explain(net.module, net.preprocess(sample.image), target, default_recipes(net)[name])
    return data_uri(overlay(net.view(sample.image), maps[0]))


def _is_of_the_study(network: str, picture: int, name: str) -> bool:
    return network in _NETWORKS and FIRST <= picture < 2**31 and name in _recipes(network)


def _recipes(network: str) -> dict[str, Recipe]:
    return default_recipes(get_network(shared_host(), network))


@dataclass(frozen=True, eq=False)
class RunGallery:
    """The pictures of one's own evaluation."""

    run: EvaluationRun

    def overlay(self, network: str, picture: int, name: str) -> str:  # noqa: ARG002  (a run has one network)
        """A map over its picture, as a data URI."""
        of = self.run.cases[picture].explained
        with gpu_memory(self.run.net):
            return data_uri(overlay(get_view(of), merged(of, self.run.recipes[name])[0]))

    def address(self, network: str, picture: int, name: str) -> str:
        """The address that opens a map of a shape in Explore; "" for other pictures."""
        index = self.run.cases[picture].shape
        return "" if index is None else shape_address("one shape", index, network, self.run.recipes[name])


def shape_address(kind: str, index: int, network: str, recipe: Recipe) -> str:
    """The address that opens a map of a single shape in Explore, given the sample's index in the test split."""
    label, band = shapes.class_and_band(index)
    state = Explored(
        kind=kind,
        shape=shapes.CLASSES[label],
        size=band,
        number=index // (len(shapes.CLASSES) * len(shapes.BANDS)),
        model=network,
        method=recipe.method,
        layers=recipe.layers,
        rule=recipe.rule,
        mirror_averaged=recipe.mirror_averaged,
    )
    return f"/?{urlencode(write(state))}"


@dataclass(frozen=True)
class NoGallery:
    """For rows without pictures: a study file holds only numbers."""

    def overlay(self, network: str, picture: int, name: str) -> str:  # noqa: ARG002
        """Nothing."""
        return ""

    def address(self, network: str, picture: int, name: str) -> str:  # noqa: ARG002
        """Nothing."""
        return ""


def examples_html(study: Study, shown: Shown, metric: str) -> str:
    """Pictures on which the metric is right, and on which it is fooled."""
    gallery = study.gallery(shown.samples)
    right, fooled = examples(study.results, shown, metric, _EXAMPLES)
    figures = [_example_html(gallery, shown, metric, pair, "Right: it prefers the first map") for pair in right]
    figures += [_example_html(gallery, shown, metric, pair, "Fooled: it prefers the second map") for pair in fooled]
    if not figures:
        return f"<p class='cv-note'>{_why_none(study, shown, metric)}</p>"
    area = "<p>Maps are drawn as they are; their scores are those at equal area.</p>" if shown.equal_area else ""
    return f'<div class="cv-examples" hidden>{"".join(figures)}{area}</div>'


def _why_none(study: Study, shown: Shown, metric: str) -> str:
    """Why there is no pair that the metric orders."""
    rows = rows_of(study.results, shown, metric)
    if rows[metric].isna().all():
        return f"{SCORES[metric].title} is undefined for every map of these pictures."
    if rows.groupby(["network", "picture"])[metric].nunique().le(1).all():
        return (
            "At equal area, every map of a picture gets the same score from this metric: it sees only how large a map "
            "is. So it is a coin here."
        )
    return "No two maps of a picture fit its mask differently enough yet."


def _example_html(gallery: Gallery, shown: Shown, metric: str, pair: Example, head: str) -> str:
    truth = SCORES[shown.truth].title
    maps = "".join(
        f"<figure>{picture_html(gallery, pair.network, pair.picture, name)}"
        f"<figcaption><b>{escape(map_title(name))}</b><br>{truth} {pair.truths[place]:.2f}<br>"
        f"{escape(SCORES[metric].title)} {pair.scores[place]:.2f}</figcaption></figure>"
        for place, name in enumerate((pair.better, pair.worse))
    )
    link = link_html(gallery, pair.network, pair.picture, pair.better)
    return f"<section><h4>{head}</h4><div>{maps}</div>{link}</section>"


def picture_html(gallery: Gallery, network: str, picture: int, name: str) -> str:
    """A map over its picture."""
    words = f"{map_title(name)} of picture {picture}"
    source = gallery.overlay(network, picture, name)
    return f'<div class="cv-pic"><img src="{source}" alt="{escape(words)}"></div>' if source else ""


def link_html(gallery: Gallery, network: str, picture: int, name: str) -> str:
    """A link that opens a map in Explore."""
    address = gallery.address(network, picture, name)
    return f'<a href="{address}" target="_blank" rel="noopener">Open in Explore</a>' if address else ""


def map_title(name: str) -> str:
    """A map's name in words."""
    method, _, made = name.partition(", ")
    return f"{METHODS[method].title}, {made}" if made else f"{METHODS[method].title} (blind)"
