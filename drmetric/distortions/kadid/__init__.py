"""The 25 distortions of KADID-10k, by number and level; see `drmetric.distortions.kadid.types`."""

from drmetric.distortions.kadid.types import distort

__all__ = ["distort"]
