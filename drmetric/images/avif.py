"""What an AVIF says of its colours, which its decoder passes over."""

from collections.abc import Iterator

from drmetric.images.png import video_colour

__all__ = ["stated_colour"]

_WITHIN = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes on the way to the colours, and the bytes before the boxes in them."""


def stated_colour(data: bytes) -> str:
    """How the values are meant, by code points in an nclx box, where that is far from sRGB; else empty."""
    for body in _colours(memoryview(data)):
        if bytes(body[:4]) == b"nclx" and len(body) >= 10:
            primaries, transfer = (int.from_bytes(body[at : at + 2]) for at in (4, 6))
            if said := video_colour(primaries, transfer):  # matrix and range are the decoder's, which heeds them
                return f"its nclx box says {said}"
    return ""


def _colours(view: memoryview) -> Iterator[memoryview]:
    """The bodies of all colr boxes."""
    while len(view) >= 8:
        size, kind, start = int.from_bytes(view[:4]), bytes(view[4:8]), 8
        if size == 1:
            size, start = int.from_bytes(view[8:16]), 16
        end = size or len(view)
        if end < start:
            return
        if kind == b"colr":
            yield view[start:end]
        elif kind in _WITHIN:
            yield from _colours(view[start + _WITHIN[kind] : end])
        view = view[end:]
