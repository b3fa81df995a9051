"""Any metric of the package pyiqa behind the face of all others: ``create("pyiqa:musiq")``.

pyiqa's code is under the PolyForm Noncommercial licence 1.0.0: commercial use needs another licence from its
authors, whatever drmetric's own licence allows. On first use most of its metrics download their weights, which have
terms of their own, into torch hub's cache; drmetric downloads nothing itself.

pyiqa sees one image at a time, with the same random numbers every time, so a score depends neither on the batch nor
on earlier calls, also where pyiqa crops at random. Images are clamped to [0, 1]. There are no gradients: for a loss use
``pyiqa.create_metric(name, as_loss=True)``.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from drmetric import __version__
from drmetric.errors import InputError, MissingDependencyError, WeightsError, optional
from drmetric.images import without_autocast
from drmetric.metrics.alignment import Alignment, Crop
from drmetric.metrics.base import INFINITY, Metric, Mode, device_after

__all__ = ["PYIQA", "PyiqaMetric", "pyiqa_class"]

PYIQA = "pyiqa:"
"""What the names of its metrics begin with."""
OF_SETS = ("FID", "InceptionScore")
"""Types of pyiqa's metrics that compare sets of images."""
_MODES: dict[str, Mode] = {"FR": "fr", "NR": "nr"}


class PyiqaMetric(Metric):
    """A metric of pyiqa; `pyiqa_class` makes the class of each.

    Args:
        crop, upscale: of one with a reference, see `drmetric.metrics.alignment.Alignment`.
        options: what ``pyiqa.create_metric`` takes beside the name, such as ``crop_border=4``.

    Raises:
        WeightsError: its weights cannot be downloaded or read.
        MissingDependencyError: a package that this metric of pyiqa needs is not installed.
    """

    pyiqa_name: ClassVar[str]
    score_range: ClassVar[tuple[float, float]] = (-INFINITY, INFINITY)
    differentiable: ClassVar[bool] = False
    min_size: ClassVar[int] = 32
    licence: ClassVar[str] = "PolyForm-Noncommercial-1.0.0"

    def __init__(self, *, crop: Crop = "none", upscale: bool = False, **options: Any) -> None:
        super().__init__()
        self.alignment = Alignment(crop, upscale)
        self._network: nn.Module
        object.__setattr__(self, "_network", _network(self.pyiqa_name, options))
        self._options = {key: _option_text(value) for key, value in sorted(options.items())}
        self._weights = _state_hash(self._network)

    @property
    def signature(self) -> str:
        """Options, pyiqa's version, and a hash of the weights, where there are any."""
        parts = {**self._options, "pyiqa": _pyiqa().__version__, "weights": self._weights, "input": "rgb01"}
        parts |= {**self.alignment.settings, "drmetric": __version__}
        return "|".join([self.name, *(f"{key}:{value}" for key, value in parts.items() if value)])

    @torch.no_grad()
    def _score(self, image: Tensor, reference: Tensor | None) -> Tensor:
        batches = [image] if reference is None else self.alignment(image, reference, self.min_size)
        rows = zip(*(torch.split(batch.detach().clamp(0, 1), 1) for batch in batches), strict=True)
        with without_autocast(image.device):
            return torch.cat([self._score_one(row) for row in rows])

    def _score_one(self, row: tuple[Tensor, ...]) -> Tensor:
        with _own_randomness():
            score = torch.as_tensor(self._network(*row), dtype=torch.float32, device=row[0].device).flatten()
        if len(score) != 1:
            raise InputError(
                f"pyiqa's {self.pyiqa_name} gave {len(score)} values for one image; wanted one score",
                'create("pyiqa:musiq")  # or another metric that scores single images',
            )
        return score

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As all metrics, with pyiqa's network, which is kept out of the module tree."""
        super()._apply(fn, recurse)
        tensor = next(chain(self._network.parameters(), self._network.buffers()), torch.empty(0))
        self._network.to(device_after(fn, tensor.device))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the name in pyiqa: classes made at run time have no place that pickle could find."""
        return _blank, (self.pyiqa_name,), self.__getstate__()  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature})"


@cache
def pyiqa_class(name: str) -> type[PyiqaMetric]:
    """The class of ``pyiqa:<name>``; its mode and direction are those that pyiqa states.

    Args:
        name: one of ``pyiqa.list_models()``.

    Raises:
        MissingDependencyError: pyiqa is not installed, or does not import.
        InputError: pyiqa has no such metric, or it compares sets of images.
    """
    pyiqa = _pyiqa()
    known = optional("pyiqa.default_model_configs", "pyiqa", "a metric of pyiqa").DEFAULT_CONFIGS
    if name not in known:
        near = ", ".join(get_close_matches(name, known, 3)) or "none is called nearly so"
        raise InputError(
            f"pyiqa {pyiqa.__version__} has no metric {name!r}; near: {near}",
            'python -c "import pyiqa; print(pyiqa.list_models())"',
        )
    config = known[name]
    if config["metric_opts"]["type"] in OF_SETS or config.get("metric_mode") not in _MODES:
        raise InputError(
            f"pyiqa's {name} compares sets of images; drmetric scores single images", 'create("pyiqa:musiq")'
        )
    attributes = {
        "name": PYIQA + name,
        "pyiqa_name": name,
        "mode": _MODES[config["metric_mode"]],
        "higher_is_better": not config.get("lower_better", False),
        "__module__": __name__,
        "__doc__": PyiqaMetric.__doc__,
    }
    return type("PyiqaMetric", (PyiqaMetric,), attributes)


def _pyiqa() -> Any:
    return optional("pyiqa", "pyiqa", "a metric of pyiqa")


def _blank(name: str) -> PyiqaMetric:
    kind = pyiqa_class(name)
    return kind.__new__(kind)


def _network(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        with redirect_stdout(io.StringIO()), _own_randomness():
            network: nn.Module = _pyiqa().create_metric(name, device=torch.device("cpu"), **options)
    except (ImportError, KeyError) as error:
        raise MissingDependencyError(
            f"pyiqa's {name} needs something that is not installed: {error!r}",
            "pip install --upgrade 'drmetric[pyiqa]'",
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        raise WeightsError(
            f"pyiqa's {name} could not download or read its weights: {error!r}",
            f"python -c \"import pyiqa; pyiqa.create_metric('{name}')\"  # once, with a connection",
        ) from error
    return network.eval().requires_grad_(False)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """The same random numbers every time; the generators of torch and NumPy are left as they were."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            np.random.set_state(before)


def _option_text(value: Any) -> str:
    """An option in a signature: of a file its name and hash, of anything else its text."""
    if isinstance(value, str | Path) and Path(value).is_file():
        return f"{Path(value).name}@{sha256(Path(value).read_bytes()).hexdigest()[:12]}"
    return str(value)


def _state_hash(network: nn.Module) -> str:
    """The first digits of a SHA-256 of all parameters and buffers; empty where there are none."""
    state = {key: value for key, value in network.state_dict().items() if value.numel()}
    digest = sha256()
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12] if state else ""
