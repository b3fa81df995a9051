"""What may be wrong with the pairs of two folders before they are scored: names, scales, orientation."""

from collections.abc import Iterator
from pathlib import Path

from drmetric.bench.scores.geometry import are_swapped, misfits, read_sizes, scales_of_folder
from drmetric.bench.scores.pairing import Pairing, pair
from drmetric.errors import DrmetricError, quoted
from drmetric.images.doctor import Finding
from drmetric.images.scale import Size, doubt_of, scales_of


def inspect_pairs(restored: Path, degraded: Path) -> Iterator[Finding]:
    """Look into the pairs of a folder of restored images and one of their degraded inputs, without decoding them."""
    try:
        pairing = pair(restored, degraded)
    except DrmetricError as error:
        yield Finding(str(restored), "error", "pairs", error.problem, error.fix)
        return
    for name in pairing.missing:
        yield Finding(
            str(restored / name),
            "error",
            "missing",
            f"no degraded input in {degraded} has its name",
            "name the input as its output, which may add a tag",
        )
    for name in pairing.extra:
        yield Finding(str(degraded / name), "note", "extra", "no restored image has its name")
    yield from _sizes(pairing, restored, degraded)


def _sizes(pairing: Pairing, restored: Path, degraded: Path) -> Iterator[Finding]:
    files = {each.name: (each.restored, each.degraded) for each in pairing.pairs if each.degraded is not None}
    sizes = read_sizes(files)
    if are_swapped(sizes.values()):
        message = f"every image is smaller than its input in {degraded}"
        yield Finding(str(restored), "error", "scale", message, f"drmetric doctor {quoted(degraded, restored)}")
        return
    expected = scales_of_folder(sizes, {name: path for name, (_, path) in files.items()})
    wrong = misfits(sizes, expected)
    for name, misfit in wrong.items():
        yield Finding(str(restored / name), "error", "scale", misfit.problem, misfit.fix)
    for name, each in sizes.items():
        if name not in wrong and (doubt := doubt_of(*each)):
            yield Finding(str(restored / name), "warning", "scale", *doubt.split("; "))
    turned = [name for name, each in sizes.items() if _is_turned(*each)]
    if turned:
        yield Finding(
            str(restored),
            "warning",
            "orientation",
            f"outputs and inputs are turned against each other, such as {turned[0]!r}: the EXIF orientation of an "
            "input counts here, and perhaps did not where it was restored",
            "save the input upright, and restore it again",
        )
    if expected:
        scales = ", ".join(f"{scale:.4g}" for scale in sorted(set(expected.values())))
        yield Finding(
            str(restored), "ok", "scale", f"{len(sizes)} pairs; outputs should be {scales} times their inputs"
        )


def _is_turned(output: Size, degraded: Size) -> bool:
    return scales_of(output, degraded) is None and scales_of(output, degraded[::-1]) is not None
