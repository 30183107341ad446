"""Maps of the study as pictures: those that a metric orders rightly or wrongly, with links to Explore."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from urllib.parse import urlencode

import torch

from camviz import shapes
from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.recipe import explain
from camviz.render import data_uri, overlay
from camviz.trust.evaluation import default_recipes
from camviz.trust.sealed_samples import Kind, draw
from camviz.ui.evaluate.study import Example, Shown, examples, measured_with
from camviz.ui.links.link_format import Explored, write
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import shared_host
from camviz.workbench.networks import get_network

_EXAMPLES = 2  # of each kind
# The kinds of samples that Explore knows, too.
_EXPLORED: dict[Kind, str] = {"plain": "one shape", "textured": "textured"}


def examples_html(shown: Shown, metric: str) -> str:
    """Pictures on which the metric is right, and on which it is fooled."""
    if not measured_with(shown, metric):
        return ""
    right, fooled = examples(shown, metric, _EXAMPLES)
    figures = [_example_html(shown, metric, pair, "Right: it prefers the first map") for pair in right]
    figures += [_example_html(shown, metric, pair, "Fooled: it prefers the second map") for pair in fooled]
    area = "<p>Maps are drawn as they are; their scores are those at equal area.</p>" if shown.equal_area else ""
    return f'<div class="cv-examples" hidden>{"".join(figures)}{area}</div>'


def _example_html(shown: Shown, metric: str, pair: Example, head: str) -> str:
    truth = SCORES[shown.truth].title
    maps = "".join(
        f"<figure>{picture_html(shown.samples, pair.network, pair.picture, name)}"
        f"<figcaption><b>{escape(map_title(name))}</b><br>{truth} {pair.truths[place]:.2f}<br>"
        f"{escape(SCORES[metric].title)} {pair.scores[place]:.2f}</figcaption></figure>"
        for place, name in enumerate((pair.better, pair.worse))
    )
    link = link_html(shown.samples, pair.network, pair.picture, pair.better)
    return f"<section><h4>{head}</h4><div>{maps}</div>{link}</section>"


def picture_html(kind: Kind, network: str, picture: int, name: str) -> str:
    """A map over its picture."""
    words = f"{map_title(name)} of picture {picture}"
    return f'<div class="cv-pic"><img src="{picture_of(kind, network, picture, name)}" alt="{escape(words)}"></div>'


def link_html(kind: Kind, network: str, picture: int, name: str) -> str:
    """A link that opens a map in Explore."""
    if kind not in _EXPLORED:
        return ""
    label, turn = picture % len(shapes.CLASSES), picture // len(shapes.CLASSES)
    recipe = default_recipes(get_network(shared_host(), network))[name]
    state = Explored(
        kind=_EXPLORED[kind],
        shape=shapes.CLASSES[label],
        size=tuple(shapes.BANDS)[turn % len(shapes.BANDS)],
        number=turn // len(shapes.BANDS),
        model=network,
        method=recipe.method,
        layers=recipe.layers,
        rule=recipe.rule,
    )
    return f'<a href="/?{urlencode(write(state))}" target="_blank" rel="noopener">Open in Explore</a>'


@lru_cache(maxsize=128)
def picture_of(kind: Kind, network: str, picture: int, name: str) -> str:
    """A map over its picture, as a data URI."""
    host = shared_host()
    net, sample = get_network(host, network), draw(kind, picture)
    with gpu_memory(net), host.working():
        target = torch.tensor([sample.label], device=net.device)
        maps = explain(net.module, net.preprocess(sample.image), target, default_recipes(net)[name])
    return data_uri(overlay(net.view(sample.image), maps[0]))


def map_title(name: str) -> str:
    """A map's name in words."""
    method, _, layer = name.partition(", ")
    return f"{METHODS[method].title}, {layer}" if layer else f"{METHODS[method].title} (blind)"
