"""A CAM method in a Python file of somebody's own: the file is run as any Python file is, its maps are checked."""

from __future__ import annotations

import copy
import hashlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from camviz.maps import normalise, upsample
from camviz.metrics.evidence import ExplainOn
from camviz.network.logits import described
from camviz.results.manifest import plain
from camviz.trust.sealed_study import SEED, Picture

# (module, x, target, layers) -> maps (B, h, w), see `UserMethod`.
UserExplain = Callable[[nn.Module, Tensor, Tensor, tuple[str, ...]], Tensor]
_FUNCTION = "explain"
_MODULE = "_camviz_user_method"
_LONGEST = 200  # characters of an exception's message


class MethodError(Exception):
    """A method's file cannot be used, or its function failed; the message is one sentence."""


@dataclass(frozen=True)
class UserMethod:
    """A method of somebody's own.

    Attributes:
        name: its name in tables.
        file: its file.
        sha256: the SHA-256 of the file's content and of the modules beside it that it imports, in hexadecimal digits.
        explain: (module, x, target, layers) -> maps. x is float (B, 3, H, W), normalised, target long (B,), and layers
            are the network's layers from the finest to the deepest. Maps are real numbers (B, h, w) of any grid and
            scale.
    """

    name: str
    file: Path
    sha256: str
    explain: UserExplain = field(repr=False)

    def maker(self, picture: Picture) -> ExplainOn:
        """What makes a picture's maps (B, H, W): upsampled and stretched to [0, 1] as those of camviz's own methods.

        Each call gets copies of the network, the picture and the class, so that nothing it does to them outlives it,
        nor any hook that it leaves. torch's generator starts with the study's seed.
        """
        return partial(self._map, f"on {picture.name}", picture.net.layers)

    def _map(self, where: str, layers: tuple[str, ...], module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        own = copy.deepcopy(module), x.detach().clone(), target.clone()
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            try:
                maps = self.explain(*own, layers)
            except (Exception, SystemExit) as error:
                raise MethodError(f"{self.file.name} failed {where}: {_in_one_line(error, self.file)}.") from error
        if not _are_maps(maps, len(x)):
            raise MethodError(
                f"{_FUNCTION} of {self.file.name} must return a tensor of {len(x)} x h x w real numbers, and {where} "
                f"it returned {described(maps)}."
            )
        maps = maps.detach().to(x)
        if not torch.isfinite(maps).all():
            raise MethodError(f"{_FUNCTION} of {self.file.name} returned NaN or infinite values {where}.")
        return normalise(upsample(maps, x.shape[-2:]))


def load_method(file: Path, content: bytes, name: str | None = None) -> UserMethod:
    """Run a method's file, and take its function `explain`.

    Args:
        file: where it is; modules beside it can be imported.
        content: what it holds.
        name: the method's name; None for the file's name without its suffix.

    Raises:
        MethodError: it is not Python, raises an exception, or has no function `explain`.
    """
    try:
        code = compile(content, str(file), "exec", dont_inherit=True)  # not the __future__ of this file
    except (SyntaxError, ValueError) as error:
        raise MethodError(f"{file.name} is not a Python file: {_in_one_line(error, file)}.") from error
    module = ModuleType(_MODULE)
    module.__file__ = str(file)
    sys.modules[_MODULE] = module  # where a dataclass looks up its annotations
    if (folder := str(file.resolve().parent)) not in sys.path:
        sys.path.insert(0, folder)
    before = set(sys.modules)
    try:
        exec(code, vars(module))  # noqa: S102 - running the user's file is what was asked for
    except (Exception, SystemExit) as error:
        raise MethodError(f"{file.name} cannot be run: {_in_one_line(error, file)}.") from error
    explain = getattr(module, _FUNCTION, None)
    if not callable(explain):
        raise MethodError(
            f"{file.name} has no function {_FUNCTION}: write explain(module, x, target, layers), which returns maps "
            "(B, h, w)."
        )
    return UserMethod(plain(name or file.stem), file, _digest(content, file.resolve().parent, before), explain)


def _digest(content: bytes, folder: Path, before: set[str]) -> str:
    """The SHA-256 of a file's content and of the modules beside it that it has imported."""
    imported = [module for name, module in sys.modules.items() if name not in before]
    files = {Path(found).resolve() for module in imported if (found := getattr(module, "__file__", None))}
    digest = hashlib.sha256(content)
    for beside in sorted(each for each in files if each.parent == folder and each.is_file()):
        digest.update(beside.read_bytes())
    return digest.hexdigest()


def _are_maps(found: object, count: int) -> bool:
    """Whether something is maps (B, h, w) of `count` pictures."""
    if not isinstance(found, Tensor):
        return False
    return found.ndim == 3 and len(found) == count and found.numel() > 0 and not found.is_complex()


def _in_one_line(error: BaseException, file: Path) -> str:
    """An exception's type and message in one line, and the line of the file that it passed last."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    message = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines, message = [error.lineno], error.msg  # its text names the line, too
    words = plain(f"{type(error).__name__}: {message}" if message else type(error).__name__)
    words = f"{words[:_LONGEST]}…" if len(words) > _LONGEST else words.rstrip(".")
    return f"{words} (line {lines[-1]})" if lines else words
