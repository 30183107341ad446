"""Explain a picture, open a bundle, or bench a method, from a terminal."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from camviz import shapes
from camviz.given_back import keep_giving_back
from camviz.html.report import report
from camviz.html.words import counted
from camviz.images import Fit, ImageError
from camviz.merging import RULES
from camviz.methods import METHODS, Progress
from camviz.metrics import available
from camviz.models import DEFAULT_MODEL, DownloadError, ModelError, Net, list_models, load_model
from camviz.models.checkpoint import SUFFIX
from camviz.network.batching import is_out_of_memory
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.render import COLORMAP, COLORMAPS
from camviz.results import bundle
from camviz.results.agreement import check_agreement
from camviz.results.exports import csv, hotspots_csv, npz, panel_names, panels
from camviz.results.figure import figure
from camviz.results.finding import RESULT, Finding, KnownShape, Settings, as_png, averaged
from camviz.results.output_folder import MANIFEST, OutputFolderError, reserve
from camviz.trust import bench_files
from camviz.trust.bench import NETWORKS, SECONDS, bench, pictures_of
from camviz.trust.sealed_study import PICTURES
from camviz.trust.study_results import DECIDING
from camviz.trust.user_method import MethodError, load_method
from camviz.workbench.findings import find, find_again
from camviz.workbench.pictures import known_shapes

MAX_PICTURE = bundle.LIMITS[bundle.PICTURE]
MAX_METHOD = 2**20  # bytes of a method's file
BUNDLE = f"finding{bundle.SUFFIX}"
# What `explain` writes besides the panels.
_DOCUMENTS = ("maps.npz", "scores.csv", "hotspots.csv", "figure.pdf", "report.html", BUNDLE)
_OUT = f"output folder, created if missing; its {MANIFEST} lists camviz's files, which the next run replaces"
_FORCE = (
    "overwrite files in DIR that have the name of a new file even if camviz's list doesn't match them: your own files, "
    "files changed since, and files of earlier versions, which kept no list; no other file is touched"
)
_SAMPLE = re.compile(r"shapes:(train|val|test)/(\d{1,10})")


class CannotError(Exception):
    """The command failed; the message is one sentence."""


class UsageError(Exception):
    """The command line is invalid; the message says how to fix it."""


# Their messages are one sentence.
_FAILURES = (CannotError, OutputFolderError, ImageError, DownloadError, ModelError, MethodError, bundle.BundleError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 on success, 1 on failure, 2 for an invalid command line."""
    args = _parser().parse_args(arguments)
    parser: argparse.ArgumentParser = args.parser
    try:
        return int(args.run(args))
    except UsageError as error:
        parser.error(str(error))
    except _FAILURES as error:
        message = str(error)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        message = (
            "The network does not fit into the device's memory: try --device cpu, fewer layers or a smaller network."
        )
    except OSError as error:
        message = (
            f"{error.filename or 'A file'} cannot be used ({error.strerror or error}): check its name and permissions."
        )
    except KeyboardInterrupt:
        message = "Stopped."
    print(f"camviz: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m camviz", description="Class activation maps, refined and scored.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    explain = commands.add_parser("explain", help="explain a picture; write maps, scores, figure, report and bundle")
    explain.set_defaults(run=_explain, parser=explain)
    add: Any = explain.add_argument
    add("image", metavar="IMAGE", help="a picture file, or a synthetic sample such as shapes:test/12")
    add("--out", type=Path, required=True, metavar="DIR", help=_OUT)
    add("--force", action="store_true", help=_FORCE)
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"or a checkpoint's path (default {DEFAULT_MODEL})")
    add("--method", default="gradcam++", type=_choice("method", METHODS), help=f"one of {', '.join(METHODS)}")
    add("--layers", type=_names, metavar="A,B", help="names of the network's modules (default: one per stage)")
    add("--rule", default="product", type=_choice("rule", RULES), help=f"one of {', '.join(RULES)}")
    add(
        "--mirror-averaged",
        action="store_true",
        help="average each layer's map with that of the mirrored picture, which takes twice the passes",
    )
    add("--class", dest="target", metavar="CLASS", help="its label or number (default: the predicted class)")
    add("--fit", choices=get_args(Fit), help="how to fit a picture that is not square (default crop)")
    add("--noise", type=_choice("noise", KINDS), metavar="KIND", help=f"one of {', '.join(KINDS)}")
    add("--level", type=_level, metavar="X", help="noise level, from 0 to 1")
    add("--colours", default=COLORMAP, choices=COLORMAPS, help=f"colour map of the pictures (default {COLORMAP})")
    add("--seed", type=_seed, default=0, help="seed of all random numbers (default 0)")
    add("--device", type=_device, help="such as cpu or cuda (default: the best available)")
    add(
        "--no-scores",
        action="store_true",
        help=f"skip {', '.join(available(mask=True))}; ARCC runs a slow method two more times",
    )
    opened = commands.add_parser("open", help="compute a bundle's result again, and check that the two agree")
    opened.set_defaults(run=_open, parser=opened)
    add = opened.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help=f"a file such as {BUNDLE}")
    add("--model", metavar="PATH", help="the checkpoint, if the bundle's network is your own")
    add("--device", type=_device, help="such as cpu or cuda (default: the best available)")
    _add_bench(commands)
    return parser


def _add_bench(commands: Any) -> None:  # noqa: ANN401
    benched = commands.add_parser("bench", help="score your own CAM method by the protocol of the metric study")
    benched.set_defaults(run=_bench, parser=benched)
    add = benched.add_argument
    add(
        "method",
        type=Path,
        metavar="FILE",
        help="a Python file with a function explain(module, x, target, layers) -> maps (B, h, w); it is run as any "
        "Python file is, so give only files that you trust",
    )
    of = f"some of {', '.join(NETWORKS)} (default {','.join(DECIDING)})"
    add("--networks", type=_networks, default=DECIDING, metavar="A,B", help=of)
    add(
        "--pictures",
        type=_count,
        default=PICTURES,
        metavar="N",
        help=f"of each network (default {PICTURES}, as in the protocol)",
    )
    add("--name", help="the method's name in the tables (default: the file's)")
    add("--out", type=Path, default=Path("camviz-bench"), metavar="DIR", help=f"{_OUT} (default camviz-bench)")
    add("--force", action="store_true", help=_FORCE)


def _explain(args: argparse.Namespace) -> int:
    if (args.noise is None) != (args.level is None):
        raise UsageError("--noise and --level go together: give both")
    given = _picture(args.image)
    with reserve(args.out, args.force) as folder:
        folder.check([*panel_names(()), *_DOCUMENTS])  # before a download or a slow method
        net = _network(args.model, args.device)
        layers = _layers(net, args.layers)
        if args.layers is None:  # the names depend on the order, which only `find` knows for layers the user named
            folder.check(panel_names(layers))
        settings = Settings(
            model=net.info.name,
            recipe=Recipe(args.method, layers, args.rule, args.seed, args.mirror_averaged),
            fit=args.fit or given.fit,
            target=None if args.target is None else _class(net, args.target),
            noise=None if args.noise is None else Perturbation(args.noise, args.level, args.seed),
        )
        finding = _found(
            settings,
            lambda progress: find(
                net, given.data, given.name, settings, progress, not args.no_scores, shapes=given.shapes
            ),
        )
        folder.write(_files(finding, args.colours))
    _print_result(finding)
    print(f"written to {args.out}")
    return 0


def _open(args: argparse.Namespace) -> int:
    stored = bundle.read(_bytes(args.bundle, bundle.MAX_BYTES))
    _print_result(stored)
    name = args.model or stored.settings.model
    # A name from an untrusted file must not become a path.
    if args.model is None and name not in {info.name for info in list_models()}:
        raise CannotError(
            f"camviz has no network {name!r}, which this bundle was made with: give its checkpoint with --model PATH."
        )
    net = _network(name, args.device)
    if net.info.name != stored.settings.model:
        raise CannotError(
            f"The bundle was made with {stored.settings.model!r}, not {net.info.name!r}: choose that network."
        )
    fresh = _found(stored.settings, lambda progress: find_again(net, stored, progress))
    try:
        agreement = check_agreement(stored, fresh)
    except ValueError as error:  # its layers are not in the order in which the network reaches them
        raise CannotError(f"The bundle cannot be checked: {error}.") from error
    print(agreement.text)
    return 0 if agreement.agrees else 1


def _bench(args: argparse.Namespace) -> int:
    method = load_method(args.method, _bytes(args.method, MAX_METHOD), args.name)
    pictures = min(args.pictures, pictures_of(args.networks))
    if pictures < args.pictures:
        measured = counted(pictures, "picture")
        print(f"The study has measured {measured} of each network so far, so no more are used.", file=sys.stderr)
    total = pictures * len(args.networks)
    minutes = counted(math.ceil(total * SECONDS / 60), "minute")
    print(
        f"{counted(total, 'picture')} to measure: about {minutes} on an idle machine, and longer for a method "
        "slower than Grad-CAM++. --pictures N takes fewer; a stopped run resumes.",
        file=sys.stderr,
    )
    torch.set_num_threads(1)  # as in the study: sums run in a fixed order
    keep_giving_back()
    with reserve(args.out, args.force) as folder:
        folder.check(bench_files.FILES)
        found = bench(
            method, args.networks, pictures, args.out / "rows", lambda name: _ProgressPrinter(f"pictures of {name}")
        )
        folder.write(bench_files.files(found))
    print(bench_files.as_text(found))
    if found.blank:
        print(f"{found.blank} of {total} maps are constant and count as blank.")
    print(f"written to {args.out}")
    return 0


def _found(settings: Settings, compute: Callable[[Progress | None], Finding]) -> Finding:
    """A result, with the progress of a slow method; what cannot be computed is said in a sentence."""
    progress = _ProgressPrinter("network passes") if METHODS[settings.recipe.method].is_slow else None
    try:
        return compute(progress)
    except ImageError:
        raise
    except ValueError as error:  # a layer without a map, or a class that the network doesn't have
        raise CannotError(f"The explanation cannot be computed: {error}.") from error


@dataclass(frozen=True, eq=False)
class _Input:
    """A picture to explain: its bytes, its name, its default fit and its known shapes."""

    data: bytes
    name: str
    fit: Fit
    shapes: tuple[KnownShape, ...] = ()


def _picture(text: str) -> _Input:
    """Read a picture's file, or draw a synthetic sample."""
    match = _SAMPLE.fullmatch(text)
    if match:
        split, number = match[1], int(match[2])
        if number >= 2**31:
            raise UsageError("a sample's number must be from 0 to 2147483647")
        sample = shapes.sample(number, split)  # type: ignore[arg-type]
        return _Input(as_png(sample.image), text, "squeeze", known_shapes(sample))
    if text.startswith("shapes:"):
        raise UsageError(f"{text!r} is not a synthetic sample: write shapes:test/12, with train, val or test")
    return _Input(_bytes(Path(text), MAX_PICTURE), Path(text).name, "crop")


def _bytes(path: Path, limit: int) -> bytes:
    """Read a regular file that is not too large."""
    if not path.is_file():  # a device or pipe may never end
        raise CannotError(f"There is no file {str(path)!r}: check the name.")
    if path.stat().st_size > limit:
        raise CannotError(f"{str(path)!r} has more than {limit:,} bytes: use a smaller file.")
    return path.read_bytes()


def _network(name: str, device: torch.device | None) -> Net:
    known = [info.name for info in list_models()]
    if name not in known and not name.endswith(SUFFIX):
        raise UsageError(f"unknown model {name!r}{_suggestion(name, known)}")
    return load_model(name, device, _ProgressPrinter("bytes downloaded"))


def _layers(net: Net, names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        return net.layers
    modules = [name for name, _ in net.module.named_modules() if name]
    for layer in names:
        if layer not in modules:
            raise UsageError(f"{net.info.name} has no layer {layer!r}{_suggestion(layer, modules, net.layers)}")
    if len(set(names)) < len(names):
        raise UsageError("--layers names the same layer twice")
    return names


def _class(net: Net, text: str) -> int:
    """Find a class by its label, ignoring case, or by its number."""
    labels = [label.casefold() for label in net.labels]
    if text.casefold() in labels:
        if labels.count(text.casefold()) > 1:
            numbers = [str(index) for index, label in enumerate(labels) if label == text.casefold()]
            raise UsageError(f"{net.info.name} has several classes {text!r}: choose number {' or '.join(numbers)}")
        return labels.index(text.casefold())
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(labels):
        return int(text)
    near = _suggestion(text.casefold(), labels, labels if len(labels) <= 10 else ())
    raise UsageError(f"{net.info.name} has no class {text!r}; class numbers run from 0 to {len(labels) - 1}{near}")


def _suggestion(text: str, known: Iterable[str], few: Sequence[str] = ()) -> str:
    """Similar names, or else the whole list if it is short."""
    near = difflib.get_close_matches(text, list(known), n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; choose from {', '.join(few)}" if few else ""


def _choice(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """A parser for one of these names; its error lists them all."""

    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"unknown {what} {text!r}: choose from {', '.join(known)}")
        return text

    return read


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names separated by commas")
    return names


def _networks(text: str) -> tuple[str, ...]:
    names = _names(text)
    read = _choice("network", NETWORKS)
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names the same network twice")
    return tuple(map(read, names))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not int(text[:10]) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text[:10])


def _level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = -1
    if not 0 <= level <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return level


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**63 - 1")
    return int(text)


def _device(text: str) -> torch.device:
    try:
        return torch.empty(0, device=text).device
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"no device {text!r} on this machine") from error


def _files(finding: Finding, colours: str) -> dict[str, bytes]:
    """The files to write for a result, by name."""
    pdf, html = figure(finding, colormap=colours), report(finding)
    documents = (npz(finding), csv(finding), hotspots_csv(finding), pdf, html, bundle.write(finding))
    return {**panels(finding, colours), **dict(zip(_DOCUMENTS, documents, strict=True))}


def _print_result(finding: Finding) -> None:
    """Print one line about the result and one about its score."""
    recipe = finding.settings.recipe
    method = averaged(METHODS[recipe.method].title, recipe)
    print(f"{finding.name}: {method} for {finding.label!r} ({finding.probability:.1%}), {finding.settings.model}")
    score = finding.scores.get(RESULT)
    if score is not None and score["arcc"] is not None:
        print(f"ARCC {score['arcc']:.3f}{f' ({score.note})' if score.note else ''}")


class _ProgressPrinter:
    """Reports the progress of slow work on stderr, at every tenth."""

    def __init__(self, unit: str) -> None:
        self._unit, self._tenths = unit, -1

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total if total else 0
        if tenths > self._tenths:
            self._tenths = tenths
            print(f"{done:,} of {total:,} {self._unit}", file=sys.stderr, flush=True)
