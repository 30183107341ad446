"""One's own evaluation: the pictures, the maps and what is measured, asked for in the sidebar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import streamlit as st

from camviz import shapes
from camviz.html.outlines import outline_path, svg_uri
from camviz.html.words import counted
from camviz.images import Fit, ImageError
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.models import SHAPES, Net
from camviz.recipe import Recipe
from camviz.trust.class_folders import class_named, folder_of, in_turn
from camviz.trust.mosaics import SURE, Recognised, mosaic_cases, recognised
from camviz.trust.ranked_maps import BLIND, DEFAULT_METHODS, ranked_recipes
from camviz.trust.resampling import LEAST_FOR_WINNER
from camviz.trust.run import DELIBERATE, MOST_MAPS, STEPS, Case, EvaluationRun, too_many_maps
from camviz.trust.study_results import TRUTHS
from camviz.ui.choose_one import choose_one
from camviz.ui.escaping import as_text
from camviz.ui.links.address_bar import leave_out
from camviz.ui.links.link_format import MOST_CASES, OWN_PICTURES, shown
from camviz.ui.panels.run_bar import RunKeys, Work
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator, UploadedFile
from camviz.ui.session import (
    TRUST_BEGUN,
    TRUST_COUNT,
    TRUST_LINK_UPLOADS,
    TRUST_METHODS,
    TRUST_MIRROR_AVERAGED,
    TRUST_MOSAICS,
    TRUST_PICTURES,
    TRUST_RESULTS,
    TRUST_RULES,
    TRUST_RUNNING,
    TRUST_STEPS,
    TRUST_TIMES_FORGOTTEN,
    SessionKey,
    trust_layers_key,
    trust_uploads_key,
)
from camviz.ui.sidebar.picture import PICTURE_MEGABYTES
from camviz.ui.sidebar.shape_gallery import numbered_pick
from camviz.workbench.masks import MaskError, seen_mask, stem
from camviz.workbench.pictures import Picture, SeenPicture, forget, read_picture
from camviz.workbench.true_shapes import seen_shapes

KEYS = RunKeys(TRUST_RUNNING, TRUST_BEGUN)
_PICTURES = {"shapes": "Shapes", "mosaics": "Mosaics", "masks": "With masks"}
_EXPLAINED = {
    "shapes": "Drawn shapes, whose masks are known. Choose a *Shapes* network for them.",
    "mosaics": "Four pictures of different classes in one: a map of one class should be hot in its quarter. Upload a "
    "folder of pictures; without one, mosaics are made of shapes, for a network that knows them. If the pictures are "
    "sorted into folders by class, use the *Upload* button: a dropped folder comes without its subfolders.",
    "masks": "Pictures with a mask each, PNG or NPZ, of the same file name. The predicted class is explained.",
}
_COUNT = LEAST_FOR_WINNER  # shapes or mosaics, unless another number is asked for
_STEPS = {
    "road": "ROAD and ARCC",
    "deliberate": "Wrong maps and masks",
    "slow": "Insertion, deletion, sensitivity",
    "randomisation": "Randomisation check",
}
_POOL = 48  # shapes that mosaics are made of
_NAMED = 10  # folders in a sentence


@dataclass(frozen=True)
class Wanted:
    """Which pictures are wanted.

    Attributes:
        kind: "shapes", "mosaics" or "masks".
        count: how many shapes or mosaics.
        pictures: the user's own.
        masks: the uploaded masks.
    """

    kind: str
    count: int
    pictures: tuple[Picture, ...]
    masks: tuple[UploadedFile, ...]

    @property
    def synthetic(self) -> bool:
        """Whether networks for drawn shapes come first."""
        return self.kind != "masks" and not self.pictures


def choose_pictures() -> Wanted:
    """Ask what the pictures are, how many, and for uploads."""
    kind = choose_one("Pictures", TRUST_PICTURES, OWN_PICTURES, _PICTURES.__getitem__, width="stretch")
    st.caption(_EXPLAINED[kind])
    count = 0
    if kind != "masks":
        if not TRUST_COUNT.is_set():
            TRUST_COUNT.set(_COUNT)
        count = st.number_input("How many", 1, MOST_CASES, key=TRUST_COUNT.name, persist_state="session")
    if kind == "shapes":
        return Wanted(kind, count, (), ())
    pictures = tuple(_read(_upload("pictures", "A folder of pictures" if kind == "mosaics" else "Pictures", kind)))
    masks = tuple(_upload("masks", "Masks", kind)) if kind == "masks" else ()
    if pictures:
        TRUST_LINK_UPLOADS.pop()
    elif TRUST_LINK_UPLOADS.get():
        st.info(
            "This link was made with uploaded pictures. Uploads are not kept here: upload them again.",
            icon=":material/upload_file:",
        )
    if pictures or masks:
        st.caption("Your files stay in this server's memory. They are not written to disk or shared.")
        st.button("Forget my files", icon=":material/delete:", on_click=_forget, args=(pictures,), width="stretch")
    return Wanted(kind, count, pictures, masks)


def _upload(what: str, label: str, kind: str) -> list[UploadedFile]:
    """Ask for files; of a folder, mosaics take the pictures."""
    return st.file_uploader(
        label,
        accept_multiple_files="directory" if kind == "mosaics" else True,
        max_upload_size=PICTURE_MEGABYTES,
        key=trust_uploads_key(TRUST_TIMES_FORGOTTEN.get(0), f"{kind}-{what}").name,
    )


def _read(uploads: Sequence[UploadedFile]) -> Iterator[Picture]:
    """The uploads that are pictures; the others are named."""
    known: set[tuple[str, str]] = set()
    for upload in uploads:
        try:
            picture = read_picture(shared_host(), upload.getvalue(), upload.name)
        except ImageError as error:
            st.error(f"{as_text(upload.name)}: {error}", icon=":material/broken_image:")
            continue
        # A picture that lies in two classes' folders is judged as one of each.
        place = picture.id, folder_of(picture.title)
        if place not in known:
            known.add(place)
            yield picture


def _forget(pictures: Sequence[Picture]) -> None:
    for picture_id in {picture.id for picture in pictures} | (TRUST_MOSAICS.pop() or set()):
        forget(shared_host(), picture_id)
    TRUST_RESULTS.pop()
    TRUST_TIMES_FORGOTTEN.set(TRUST_TIMES_FORGOTTEN.get(0) + 1)
    st.toast("Your files and everything computed from them are deleted.", icon=":material/delete:")


def choose_run(wanted: Wanted, net: Net, fit: Fit, notices: DeltaGenerator) -> EvaluationRun | None:
    """Ask for the maps and the metrics; while something is missing, say so in a place and return None."""
    recipes = _choose_maps(net)
    _keep_known(TRUST_STEPS, "steps", list(_STEPS))
    steps = st.pills(
        "Metrics, after the first scores",
        list(_STEPS),
        selection_mode="multi",
        default=["road"],
        format_func=_STEPS.__getitem__,
        key=TRUST_STEPS.name,
        persist_state="session",
        help="**First scores** (always): complexity, drop and gain, coherency, ADCC, the Faithfulness Estimate and its "
        "relatives. **ROAD and ARCC** take about three times as long. **Wrong maps and masks** (four times): maps that "
        "are wrong on purpose, and the true mask as a map. **Insertion, deletion and sensitivity** take ten times as "
        "long, and the **randomisation check** half as long: do maps change when the network's weights are random? "
        "Each step is taken for all pictures before the next.",
    )
    problem = too_many_maps(list(recipes)) or _too_few_maps(list(recipes), len(net.layers))
    with notices:
        cases = _CASES[wanted.kind](wanted, net, fit)
        if problem:
            st.warning(problem, icon=":material/checklist:")
    if problem or not cases:
        return None
    # A quarter of a mosaic is not what a map should fill: only the share of its heat there counts.
    truths = ("mass",) if wanted.kind == "mosaics" else TRUTHS
    if len(net.layers) < 2 and DELIBERATE in steps:
        notices.caption("This network has one layer and so no RefineCAM: wrong maps are left out.")
        steps = [step for step in steps if step != DELIBERATE]
    return EvaluationRun(net, tuple(cases), recipes, ("ordinary", *(step for step in STEPS if step in steps)), truths)


def _choose_maps(net: Net) -> dict[str, Recipe]:
    """Ask for the maps of each picture."""
    fast = [name for name, method in METHODS.items() if not method.is_slow and not method.is_baseline]
    _keep_known(TRUST_METHODS, "methods", fast)
    methods = st.multiselect(
        "Methods",
        fast,
        default=DEFAULT_METHODS,
        format_func=lambda name: METHODS[name].title,
        key=TRUST_METHODS.name,
        persist_state="session",
        help="Each gives a map of every layer and one merged over all layers. Two blind guesses are added.",
    )
    if len(net.layers) == 1:
        return ranked_recipes(net, methods, net.layers)
    with st.expander("Layers and merging rules"):
        layers = trust_layers_key(net.info.name)
        _keep_known(layers, "layers", net.layers)
        single = st.pills(
            "Layers on their own",
            net.layers[::-1],
            selection_mode="multi",
            default=net.layers,
            key=layers.name,
            persist_state="session",
            help="Each gives a map by every method. Merges always use all layers.",
        )
        rules = st.multiselect(
            "All layers merged by",
            list(RULES),
            default=["product"],
            format_func=lambda name: RULES[name].title,
            key=TRUST_RULES.name,
            persist_state="session",
            help=f"Each gives a map by every method. A picture has {MOST_MAPS} maps at most: for more rules, take "
            "fewer layers or methods.",
        )
        mirror_averaged = st.checkbox(
            "Merges also averaged with the mirrored picture",
            disabled=not rules,
            key=TRUST_MIRROR_AVERAGED.name,
            persist_state="session",
            help="The network also explains the picture with left and right swapped, and each layer's map is averaged "
            "with that one, swapped back.",
        )
    chosen = [layer for layer in net.layers if layer in single]
    return ranked_recipes(net, methods, chosen, rules, mirror_averaged=mirror_averaged)


def _too_few_maps(names: Sequence[str], layers: int) -> str:
    """What to do if there is nothing to compare in a network with some layers, or ""."""
    if set(names) > set(BLIND):
        return ""
    return "There is no map to measure: choose a method" + (", and a layer or a merging rule." if layers > 1 else ".")


def _keep_known(key: SessionKey[list[str]], name: str, options: Sequence[str]) -> None:
    """Drop what a link says and this control does not offer, and report it."""
    chosen = key.get()
    if chosen is not None and (unknown := [one for one in chosen if one not in options]):
        leave_out(shown(name, ", ".join(unknown)))
        if known := [one for one in chosen if one in options]:
            key.set(known)
        else:
            key.pop()


def work_of(run: EvaluationRun) -> Work:
    """An evaluation as work that can be started, stopped and resumed."""
    names = [SCORES[name].title for step in run.steps for name in STEPS[step]]
    what = f"{counted(len(run.cases), 'picture')} × {counted(len(run.recipes), 'map')}, {counted(len(names), 'metric')}"
    return Work(
        run.key,
        what,
        "measurements",
        run.total,
        run.done,
        run.expected_seconds(),
        run.go_on,
        "None of these pictures can be measured",
    )


def _shapes(wanted: Wanted, net: Net, fit: Fit) -> list[Case]:  # noqa: ARG001  (a shape is shown whole)
    if net.info.data != SHAPES:
        st.warning(
            f"{net.info.title} does not know these shapes: choose a *Shapes* network.", icon=":material/checklist:"
        )
        return []
    picks = [numbered_pick(number) for number in range(wanted.count)]
    seen = [(pick, SeenPicture(shared_host(), pick.picture(), net, "squeeze")) for pick in picks]
    return [
        Case(of, seen_shapes(of)[0].mask, label=net.labels.index(shapes.CLASSES[pick.label]), shape=pick.index)
        for pick, of in seen
    ]


def _masked(wanted: Wanted, net: Net, fit: Fit) -> list[Case]:
    """The pictures with a mask of the same name; what is wrong with the others is said."""
    counts = Counter(stem(picture.title) for picture in wanted.pictures)
    masks = {name: list(same) for name, same in groupby(sorted(wanted.masks, key=_stem), _stem)}
    cases = []
    for picture in _at_most(wanted.pictures):
        name, of = stem(picture.title), SeenPicture(shared_host(), picture, net, fit)
        found = masks.pop(name, [])
        if counts[name] > 1 or len(found) > 1:
            _say(
                picture.title, "More than one picture or mask has this name: rename them so that each pair has its own."
            )
            continue
        if not found:
            _say(picture.title, f"It has no mask. Upload {as_text(name)}.png or {as_text(name)}.npz.")
            continue
        (mask,) = found
        try:
            cases.append(Case(of, seen_mask(of, mask.getvalue(), mask.name)))
        except MaskError as error:
            _say(mask.name, as_text(str(error)))
    for mask in (mask for same in masks.values() for mask in same if not counts[_stem(mask)]):
        _say(mask.name, "No picture has this name. Rename one of the two so that both are named alike.")
    if not wanted.pictures:
        st.info("Upload pictures, and a mask for each of the same name.", icon=":material/upload_file:")
    return cases


def _stem(upload: UploadedFile) -> str:
    return stem(upload.name)


def _say(name: str, problem: str) -> None:
    st.warning(f"**{as_text(name)}** is left out. {problem}", icon=":material/broken_image:")


def _mosaics(wanted: Wanted, net: Net, fit: Fit) -> list[Case]:
    pool = _uploaded(wanted.pictures, net) if wanted.pictures else _drawn(net)
    if not (pool or wanted.pictures):
        st.info("Upload a folder of pictures of four classes or more.", icon=":material/upload_file:")
        return []
    with st.spinner("Which pictures does the network recognise?", show_time=True):
        found = recognised([(SeenPicture(shared_host(), picture, net, fit), label) for picture, label in pool])
    _say_unrecognised(found)
    try:
        cases = mosaic_cases(found.sure, wanted.count)
    except ValueError:
        st.warning(
            f"Mosaics need four classes, each recognised with {SURE:.0%}, and these pictures have "
            f"{len({label for _, label in found.sure})}. Upload more, or choose another network.",
            icon=":material/checklist:",
        )
        return []
    if wanted.pictures:
        TRUST_MOSAICS.set(TRUST_MOSAICS.get(set()) | {case.seen.picture.id for case in cases})
    return cases


def _drawn(net: Net) -> list[tuple[Picture, int | None]]:
    """What mosaics are made of without uploads: shapes with their classes, for a network that knows them.

    Of the sample photographs, too few classes are recognised with `SURE`.
    """
    if net.info.data != SHAPES:
        return []
    picks = [numbered_pick(number) for number in range(_POOL)]
    return [(pick.picture(), net.labels.index(shapes.CLASSES[pick.label])) for pick in picks]


def _uploaded(pictures: Sequence[Picture], net: Net) -> list[tuple[Picture, int | None]]:
    """Pictures with the classes that their folders mean, None without a folder; it is said which folders mean none."""
    folders = Counter(folder_of(picture.title) for picture in pictures)
    classes = {folder: class_named(folder, net.labels) for folder in folders if folder}
    strange = [folder for folder, label in classes.items() if label is None]
    if strange:
        names = ", ".join(f"**{as_text(folder)}**" for folder in strange[:_NAMED])
        more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
        st.warning(
            f"{counted(sum(folders[folder] for folder in strange), 'picture')} left out, as these folders' names match "
            f"no class of {net.info.title}, or more than one: {names}{more}.",
            icon=":material/folder_off:",
        )
    if numbered := [folder for folder, label in classes.items() if label is not None and folder.isdecimal()]:
        read = ", ".join(f"{folder} is {net.labels[classes[folder] or 0]}" for folder in numbered[:_NAMED])
        more = f" and {len(numbered) - _NAMED} more" if len(numbered) > _NAMED else ""
        st.caption(f"Folders named by a class's number, from 0: {as_text(read)}{more}.")
    if folders[""]:
        st.caption(f"Not in a class's folder: {counted(folders[''], 'picture')}. Their class is the predicted one.")
    usable = in_turn(picture for picture in pictures if folder_of(picture.title) not in strange)
    return [(picture, classes.get(folder_of(picture.title))) for picture in _at_most(usable)]


def _at_most(pictures: Sequence[Picture]) -> Sequence[Picture]:
    """The pictures that are used; it is said if some are not."""
    if len(pictures) > MOST_CASES:
        st.caption(f"{MOST_CASES} of {len(pictures):,} pictures are used, as many as possible from each folder.")
    return pictures[:MOST_CASES]


def _say_unrecognised(found: Recognised) -> None:
    """How many pictures mosaics are not made of, and why."""
    reasons = {
        "the network predicts another class than theirs": found.mistaken,
        f"it is less than {SURE:.0%} sure of them": found.unsure,
    }
    if left_out := found.mistaken + found.unsure:
        why = "; ".join(f"{words} ({count})" for words, count in reasons.items() if count)
        st.caption(f"{left_out} of {counted(left_out + len(found.sure), 'picture')} left out: {why}.")


_CASES = {"shapes": _shapes, "masks": _masked, "mosaics": _mosaics}


def outline_uri(case: Case) -> str:
    """The outline of a case's mask, as a data URI."""
    return svg_uri(outline_path(case.mask), case.mask.shape)
