"""From the user's choices to a grid of maps: what each cell explains, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from camviz.html.comparison import LEAST, MODES, Mode, difference, reach, same_class
from camviz.html.comparison_grid import Head, Panel
from camviz.html.layer_strip import why_blank
from camviz.html.words import percent
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.results.finding import averaged, result_title, size_title
from camviz.ui.panels.outlines import outline_of
from camviz.workbench.maps import layer_map, likeliest, merge_range, merged, predict, sizes
from camviz.workbench.networks import get_network
from camviz.workbench.pictures import Explained, SeenPicture


@dataclass(frozen=True)
class Choice:
    """The choices in the sidebar, for every mode.

    Attributes:
        mode: a name in MODES.
        methods: whose maps are shown.
        layers: the network's layers, from finest to deepest.
        rule: the rule that merges them.
        mirror_averaged: whether maps are averaged with those of the mirrored picture.
        classes: the classes to compare; the first is compared with each other one.
        models: the models to compare, by name.
        noise: the noisy copies.
    """

    mode: str
    methods: tuple[str, ...]
    layers: tuple[str, ...]
    rule: str = "product"
    mirror_averaged: bool = False
    classes: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    noise: tuple[Perturbation, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A map: what is explained, how, and, for a difference, the class it is compared with."""

    of: Explained
    recipe: Recipe
    against: Explained | None = None


@dataclass(frozen=True)
class Row:
    """Maps of one picture, model and class; `key` is unique in the grid."""

    key: str
    head: Head
    cells: list[Cell]


@dataclass(frozen=True)
class Grid:
    """The rows, and the columns as (title, note)."""

    mode: Mode
    columns: list[tuple[str, str]]
    rows: list[Row] = field(default_factory=list)

    def arranged(self, rows: list[int], columns: list[int]) -> Grid:
        """The same grid in another order."""
        ordered = [self.rows[row] for row in rows]
        return Grid(
            self.mode,
            [self.columns[column] for column in columns],
            [replace(row, cells=[row.cells[column] for column in columns]) for row in ordered],
        )


def size(choice: Choice) -> tuple[int, int]:
    """How many rows and columns a grid would have, without loading any network."""
    methods, layers = len(choice.methods), len(choice.layers)
    return {
        "layers": (methods, layers + (layers > 1)),
        "classes": (max(2 * len(choice.classes) - 1, 0), methods),
        "models": (len(choice.models), methods),
        "noise": (1 + len(choice.noise), methods),
        "rules": (methods, len(RULES)),
    }[choice.mode]


def make_grid(choice: Choice, of: Explained, layers_of: Callable[[str], tuple[str, ...]]) -> Grid:
    """Lay out the chosen grid.

    Args:
        choice: what is compared.
        of: the picture as the chosen network sees it, and the class.
        layers_of: returns the layers chosen for a network, by its name.
    """
    mode = MODES[choice.mode]
    titles = [(METHODS[name].title, "") for name in choice.methods]
    if choice.mode == "layers":
        return Grid(mode, _layer_columns(choice, of), [_layers_row(choice, of, name) for name in choice.methods])
    if choice.mode == "rules":
        names = [(RULES[rule].title, "") for rule in RULES]
        return Grid(mode, names, [_rules_row(choice, of, name) for name in choice.methods])
    if choice.mode == "classes":
        return Grid(mode, titles, [*_class_rows(choice, of), *_difference_rows(choice, of)])
    if choice.mode == "noise":
        copies = [of, *(replace(of, noise=point) for point in choice.noise)]
        return Grid(mode, titles, [_noise_row(choice, copy) for copy in copies])
    rows = [_model_row(choice, of, name, layers_of(name)) for name in choice.models]
    return Grid(mode, titles, [row for row in rows if row is not None])


def make_map(cell: Cell) -> NDArray[np.float32]:
    """A cell's map (h, w) in [0, 1]; for a difference, 0.5 means none."""
    if cell.against is not None:
        return difference(*_pair(cell))
    return merged(cell.of, cell.recipe)[0].cpu().numpy()


def reach_of(cell: Cell) -> float:
    """The largest difference between the two maps of a difference."""
    return reach(*_pair(cell))


def _pair(cell: Cell) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The two maps of a difference."""
    first, second = (merged(of, cell.recipe)[0].cpu().numpy() for of in (cell.of, cell.against or cell.of))
    return first, second


def make_range(cell: Cell) -> tuple[float, float]:
    """The values that a map's 0 and 1 had before it was stretched."""
    if cell.against is not None:
        far = reach_of(cell)
        return (0.5 - far / 2, 0.5 + far / 2) if far >= LEAST else (0.0, 1.0)
    return merge_range(cell.of, cell.recipe)


def make_panel(cell: Cell, blank: bool) -> Panel:
    """A map's description, the reason if it is blank, and its outlines."""
    reason = ""
    if blank and cell.against is None:
        reasons = [layer_map(cell.of, cell.recipe, layer)[1] for layer in cell.recipe.layers]
        reason = why_blank(True, reasons)
    return Panel(", ".join(describe(cell)), reason, outline_of(cell.of))


def describe(cell: Cell) -> list[str]:
    """A map in three lines: how it was made, class and network, picture and noise."""
    of, recipe = cell.of, cell.recipe
    alone = averaged(size_title(sizes(of)[recipe.layers[0]]), recipe)
    what = result_title(recipe) if len(recipe.layers) > 1 else alone
    label = of.net.labels[of.target]
    if cell.against is not None:
        label += f", not {of.net.labels[cell.against.target]}"
    noise = f", {_noise_title(of.noise)}" if of.noise else ""
    return [
        f"{METHODS[recipe.method].title}, {what}",
        f"{label} by {of.net.info.title}",
        f"{of.picture.title}{noise}",
    ]


def _recipe(choice: Choice, method: str, layers: tuple[str, ...] | None = None, rule: str | None = None) -> Recipe:
    layers = layers or choice.layers
    rule = (rule or choice.rule) if len(layers) > 1 else "product"
    return Recipe(method, layers, rule, mirror_averaged=choice.mirror_averaged)


def _layer_columns(choice: Choice, of: Explained) -> list[tuple[str, str]]:
    size = sizes(of)
    names = [(size_title(size[layer]), "") for layer in reversed(choice.layers)]
    if len(names) == 1:
        return names
    names[0], names[-1] = (names[0][0], "deepest"), (names[-1][0], "finest")
    return [*names, (result_title(_recipe(choice, choice.methods[0])), "all merged")]


def _layers_row(choice: Choice, of: Explained, method: str) -> Row:
    cells = [Cell(of, _recipe(choice, method, (layer,))) for layer in reversed(choice.layers)]
    if len(cells) > 1:
        cells.append(Cell(of, _recipe(choice, method)))
    return Row(method, Head(METHODS[method].title, METHODS[method].sentence), cells)


def _rules_row(choice: Choice, of: Explained, method: str) -> Row:
    cells = [Cell(of, _recipe(choice, method, rule=rule)) for rule in RULES]
    return Row(method, Head(METHODS[method].title, METHODS[method].sentence), cells)


def _class_rows(choice: Choice, of: Explained) -> list[Row]:
    probabilities = predict(of)
    return [
        Row(
            f"class-{target}",
            Head(of.net.labels[target], f"{percent(float(probabilities[target]))} sure"),
            [Cell(of.explaining(target), _recipe(choice, method)) for method in choice.methods],
        )
        for target in choice.classes
    ]


def _difference_rows(choice: Choice, of: Explained) -> list[Row]:
    """Where the first class has more evidence than each of the others."""
    rows = []
    for other in choice.classes[1:]:
        first, second = of.net.labels[choice.classes[0]], of.net.labels[other]
        head = Head(f"{first}, not {second}", f"Red: more evidence for {first}. Blue: more for {second}.", signed=True)
        pair = of.explaining(choice.classes[0]), of.explaining(other)
        rows.append(
            Row(
                f"difference-{other}",
                head,
                [Cell(pair[0], _recipe(choice, method), pair[1]) for method in choice.methods],
            )
        )
    return rows


def _model_row(choice: Choice, of: Explained, name: str, layers: tuple[str, ...]) -> Row | None:
    """Another network's maps of the same class; None if it does not know that class."""
    net = get_network(of.host, name)
    target = same_class(of.net.labels[of.target], of.target, net.labels)
    if target is None:
        return None
    of_model = SeenPicture(of.host, of.picture, net, of.fit).explaining(target)
    chosen = tuple(layer for layer in net.layers if layer in layers) or net.layers
    cells = [Cell(of_model, _recipe(choice, method, chosen)) for method in choice.methods]
    return Row(f"model-{name}", Head(net.info.title, _seen(of_model), picture=True), cells)


def _noise_row(choice: Choice, copy: Explained) -> Row:
    title = KINDS[copy.noise.kind].strength(copy.noise.level) if copy.noise else "Clean"
    cells = [Cell(copy, _recipe(choice, method)) for method in choice.methods]
    level = f"{copy.noise.level}" if copy.noise else "clean"
    return Row(f"noise-{level}", Head(title, _seen(copy), picture=True), cells)


def _noise_title(point: Perturbation) -> str:
    noise = KINDS[point.kind]
    return f"{noise.title}, {noise.strength(point.level)}"


def _seen(of: Explained) -> str:
    """How sure the network is of the class explained, and its prediction if that is another class."""
    probabilities, first = predict(of), likeliest(of)
    explained = f"{of.net.labels[of.target]} {percent(float(probabilities[of.target]))}"
    if first == of.target:
        return f"sees {explained}"
    return f"sees {of.net.labels[first]} {percent(float(probabilities[first]))}; {explained}"
