"""What a frozen backbone sees in the images of a set, computed once and kept on disk.

Where the backbone is not trained, as in CVRKD-IQA and AKD-IQA, it costs nearly all the time of an epoch and gives the
same every time. `KeptFeatures` runs it once over a few crops of each image; training then reads these.
"""

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from drmetric.data.rated import RatedImage
from drmetric.distill.datasets.rated import NONE, RatedBatch, others
from drmetric.distill.datasets.reading import crop_at, rgb
from drmetric.errors import OutputError
from drmetric.metrics.nriqa import NRIQA
from drmetric.writing import WriterLock, stamp, write_whole

Features = npt.NDArray[np.float16]
Change = Callable[[Tensor, int], Tensor]
"""What is done to a crop (1,3,H,W) before the backbone sees it, with the number of the view as seed."""

log = logging.getLogger(__name__)

BATCH = 16
BATCHES_BETWEEN_NOTES = 100
WAIT = 1.0
"""Seconds until it is seen again whether another training has finished a file."""


@dataclass(frozen=True)
class Photograph:
    """An image, and the content that decides where its crops lie: those of one content lie in the same places."""

    file: Path
    content: str


class KeptFeatures:
    """Features in files below a folder, each named after all that decides them.

    Args:
        folder: of the files; made when needed. A killed run is continued where it stopped. Trainings may share it: one
            writes a file, and others that need it wait until it is done.
        network: with `pooled`, from (N,3,H,W) images in [0, 1] to features (N,C,h,w); these are decided by the weights
            of its `backbone` and by what is listed in `decisive`.
        patch: side of the crops in pixels; the whole of an image of that size.
        views: crops of each image; every second one is mirrored.
        workers: processes that read images.
    """

    def __init__(self, folder: Path, network: Any, *, patch: int, views: int, workers: int = 0) -> None:
        self.folder = folder
        self.network = network
        self.patch = patch
        self.views = views
        self.workers = workers

    def of(self, photographs: Sequence[Photograph], change: Change | None = None) -> list[Features]:
        """For each view, features (images, C, h, w) of images, or of what `change` makes of them, left on disk."""
        return [self._of_view(photographs, change, view) for view in range(self.views)]

    def _of_view(self, photographs: Sequence[Photograph], change: Change | None, view: int) -> Features:
        crops = _Crops(photographs, self.patch, view, change)
        path = self.folder / f"{self._digest(crops)}.npy"
        if _done(path) < len(crops):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _only_writer(path):
                self._write(path, crops)
        kept: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
        return kept

    @torch.no_grad()
    def _write(self, path: Path, crops: "_Crops") -> None:
        """Compute what is not done yet; another may have done it meanwhile."""
        done = _done(path)
        if not done:
            _note(path).unlink(missing_ok=True)  # of a file that was deleted: it would vouch for the next one
            size = self.network.pooled(torch.zeros(1, 3, self.patch, self.patch)).shape[1:]
            np.lib.format.open_memmap(path, "w+", np.float16, (len(crops), *size)).flush()
        kept: np.memmap[Any, Any] = np.load(path, mmap_mode="r+")
        for images in DataLoader(Subset(crops, range(done, len(crops))), BATCH, num_workers=self.workers):
            kept[done : done + len(images)] = self.network.pooled(images).half().numpy()
            done += len(images)
            if done == len(crops) or done % (BATCHES_BETWEEN_NOTES * BATCH) == 0:
                kept.flush()
                write_whole(_note(path), json.dumps({"done": done}).encode())

    def _digest(self, crops: "_Crops") -> str:
        backbone: nn.Module = self.network.backbone
        digest = hashlib.sha256()
        for tensor in backbone.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        change = crops.change.__name__ if crops.change else ""
        decisive = [*self.network.decisive, crops.patch, crops.view, change]
        files = [(str(each.file.resolve()), *stamp(each.file)[1:], each.content) for each in crops.photographs]
        digest.update(json.dumps([decisive, files]).encode())
        return digest.hexdigest()[:20]


def _note(path: Path) -> Path:
    """Where it stands how much of a file is done."""
    return path.with_suffix(".json")


def _done(path: Path) -> int:
    """Of how many images a file holds the features; of none where the file was deleted."""
    note = _note(path)
    done: int = json.loads(note.read_text())["done"] if note.exists() and path.exists() and path.stat().st_size else 0
    return done


def _only_writer(path: Path) -> WriterLock:
    """The lock on a file, as soon as no other training writes it."""
    waited = False
    while True:
        try:
            return WriterLock(path)
        except OutputError:
            if not waited:
                log.info("waiting for another training, which writes %s", path)
            waited = True
            time.sleep(WAIT)


class _Crops(Dataset[Tensor]):
    """One crop (3,patch,patch) of each photograph, mirrored in every second view."""

    def __init__(self, photographs: Sequence[Photograph], patch: int, view: int, change: Change | None) -> None:
        self.photographs = photographs
        self.patch = patch
        self.view = view
        self.change = change

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> Tensor:
        photograph = self.photographs[index]
        places = random.Random(f"{photograph.content} {self.view}")
        crop = crop_at(rgb(photograph.file), self.patch, places.random(), places.random())
        crop = crop.flip(-1) if self.view % 2 else crop
        return (self.change(crop, self.view) if self.change else crop)[0]


class Scores:
    """NRIQA("mobile") as a network whose only feature of an image is its score."""

    def __init__(self, weights: str) -> None:
        self.backbone = NRIQA(weights=weights).network
        self.decisive = [self.backbone.config.as_dict()]

    def pooled(self, image: Tensor) -> Tensor:
        """(N,1) scores of (N,3,H,W) images."""
        logits: Tensor = self.backbone(image).scores.mean((1, 2, 3))
        return logits.sigmoid()[:, None]


class RatedFeatures(Dataset[RatedBatch]):
    """Kept features of one of the crops of each rated image, drawn anew each time, in place of its pixels.

    Args:
        rated: images.
        kept: where the features are.
        pristine: also those of the same crop of the pristine image, where a set has it.
        references: files by their content: also those of a crop of one of another content.
        change: also those of the image so changed, as its reference.
        judged: scores of the crops, kept as well, of which every target takes this `share`.
    """

    def __init__(
        self,
        rated: list[RatedImage],
        kept: KeptFeatures,
        *,
        pristine: bool = False,
        references: Mapping[str, Path] | None = None,
        change: Change | None = None,
        judged: KeptFeatures | None = None,
        share: float = 0.0,
    ) -> None:
        self.rated = rated
        self.views = kept.views
        self.share = share
        images = [Photograph(each.image, each.content) for each in rated]
        self._images = kept.of(images)
        self._changed = None if change is None else kept.of(images, change)
        self._judged = None if judged is None else judged.of(images)
        originals = {each.content: each.reference for each in rated if pristine and each.reference}
        self._pristine = _Table(originals, kept)
        self._references = _Table(references or {}, kept)

    def __len__(self) -> int:
        return len(self.rated)

    def __getitem__(self, index: int) -> RatedBatch:
        return self.drawn(index, random.Random(random.random()))

    def drawn(self, index: int, chance: random.Random) -> RatedBatch:
        """The image of an index; which of its crops, and the reference, are left to `chance`."""
        rated, view = self.rated[index], chance.randrange(self.views)
        pristine = self._pristine.of(rated.content, view) if rated.content in self._pristine.rows else NONE
        if self._changed is not None:
            reference = _tensor(self._changed[view][index])
        elif self._references.rows:
            reference = self._references.of_another(rated.content, chance)
        else:
            reference = NONE
        score = torch.tensor(rated.score)
        if self._judged is not None:
            score = score.lerp(_tensor(self._judged[view][index])[0], self.share)
        return RatedBatch(_tensor(self._images[view][index]), score, pristine, reference)


class _Table:
    """Kept features of one file a content."""

    def __init__(self, files: Mapping[str, Path], kept: KeptFeatures) -> None:
        self.rows = {content: row for row, content in enumerate(files)}
        self._contents = list(files)
        self._views = kept.views
        self._features = kept.of([Photograph(file, content) for content, file in files.items()]) if files else None

    def of(self, content: str, view: int) -> Tensor:
        assert self._features is not None
        return _tensor(self._features[view][self.rows[content]])

    def of_another(self, content: str, chance: random.Random) -> Tensor:
        return self.of(chance.choice(others(self._contents, content)), chance.randrange(self._views))


def _tensor(features: Features) -> Tensor:
    return torch.from_numpy(np.array(features, np.float32))
