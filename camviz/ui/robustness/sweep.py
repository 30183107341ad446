"""A sweep over pictures, explanations and noise: its plan, its progress, and its results so far."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

import pandas as pd

from camviz.images import Fit
from camviz.methods import METHODS
from camviz.models import Net
from camviz.noise import KINDS
from camviz.noise.measure import Outcome, Perturbation, perturbations
from camviz.recipe import Recipe
from camviz.study import parts, rows
from camviz.ui.server.sharing import shared_host
from camviz.workbench.maps import is_predicted, likeliest
from camviz.workbench.networks import expected_seconds, pass_seconds
from camviz.workbench.noisy_copies import get_segments, has_outcomes, outcomes
from camviz.workbench.pictures import Explained, Picture, SeenPicture, network_key

# Copies measured at a time, without and with a slow method: stopping loses the current ones.
PIECE, SLOW_PIECE = 4, 1
# A clean picture and each copy take a forward and a backward pass, as long as three forward passes; copies that flip
# take twice that, and a slow method runs twice on them.
_PASSES, _TWICE = 3.0, 1.4


@dataclass(frozen=True, eq=False)
class Plan:
    """What to measure.

    Attributes:
        pictures: the pictures, with unique titles.
        net: the network.
        fit: how photographs are fitted into its view.
        recipes: the explanations, by title.
        kinds, levels, seeds: the noise.
    """

    pictures: tuple[Picture, ...]
    net: Net
    fit: Fit
    recipes: dict[str, Recipe]
    kinds: tuple[str, ...]
    levels: tuple[float, ...]
    seeds: tuple[int, ...]
    points: list[Perturbation] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", perturbations(self.kinds, self.levels, self.seeds))

    @property
    def key(self) -> Hashable:
        """The plan's identity."""
        pictures = tuple(picture.id for picture in self.pictures)
        return pictures, network_key(self.net), self.fit, tuple(self.recipes.items()), tuple(self.points)

    @property
    def pieces(self) -> list[tuple[Perturbation, ...]]:
        """A picture's perturbations in pieces."""
        slow = any(METHODS[recipe.method].is_slow for recipe in self.recipes.values())
        return parts(self.points, SLOW_PIECE if slow else PIECE)

    def seen(self, picture: Picture) -> SeenPicture:
        """A picture as the network sees it; a synthetic one is shown whole."""
        return SeenPicture(shared_host(), picture, self.net, self.fit if not picture.synthetic else "squeeze")

    def expected_seconds(self) -> float:
        """Roughly how long the whole sweep takes."""
        copies = sum(len(self.seeds) if KINDS[kind].seeded else 1 for kind in self.kinds) * len(self.levels)
        seconds = _PASSES * pass_seconds(shared_host(), self.net)
        recipes = self.recipes.values()
        seconds += sum(expected_seconds(shared_host(), self.net, recipe) for recipe in recipes)
        return len(self.pictures) * (copies * _TWICE + 1) * seconds


def known_prediction(seen: SeenPicture) -> Explained | None:
    """A picture with its predicted class, if that is already known."""
    return seen.explaining(likeliest(seen)) if is_predicted(seen) else None


def refusal(plan: Plan, picture: Picture) -> str:
    """Why a picture cannot be measured, or ""."""
    try:
        get_segments(plan.seen(picture))
    except ValueError as error:
        return str(error)
    return ""


def usable(plan: Plan) -> list[Picture]:
    """The pictures that can be measured."""
    return [picture for picture in plan.pictures if not refusal(plan, picture)]


def done_copies(plan: Plan) -> int:
    """How many perturbed copies of the usable pictures have been measured."""
    known = [known_prediction(plan.seen(picture)) for picture in usable(plan)]
    return sum(len(piece) for of in known if of for piece in plan.pieces if has_outcomes(of, plan.recipes, piece))


def go_on(plan: Plan, seconds: float) -> bool:
    """Measure for about this many seconds, at least one piece; return whether there is more to do."""
    until = time.monotonic() + seconds
    worked = False
    for picture in usable(plan):
        seen = plan.seen(picture)
        of = seen.explaining(likeliest(seen))
        for piece in plan.pieces:
            if has_outcomes(of, plan.recipes, piece):
                continue
            if worked and time.monotonic() > until:
                return True
            outcomes(of, plan.recipes, piece)
            worked = True
    return False


def results(plan: Plan) -> pd.DataFrame:
    """All rows known so far; empty if there are none."""
    tables = []
    for picture in usable(plan):
        of = known_prediction(plan.seen(picture))
        known: dict[str, list[Outcome]] = {name: [] for name in plan.recipes}
        for piece in plan.pieces if of else []:
            if of and has_outcomes(of, plan.recipes, piece):
                for name, some in outcomes(of, plan.recipes, piece).items():
                    known[name].extend(some)
        if any(known.values()):
            tables.append(rows(picture.title, known))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def recipes_of(net: Net, methods: list[str], bases: list[str]) -> dict[str, Recipe]:
    """Each method on the deepest layer, and RefineCAM of each base over all layers, by title."""
    alone = {METHODS[name].title: Recipe(name, net.layers[-1:]) for name in methods}
    merged = {f"RefineCAM ({METHODS[name].title})": Recipe(name, net.layers) for name in bases}
    return alone | (merged if len(net.layers) > 1 else {})
