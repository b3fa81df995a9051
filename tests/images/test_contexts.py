"""What callers set for all tensors is set again afterwards."""

from threading import Thread

import torch

from drmetric.images import plain_defaults


def test_a_thread_that_comes_and_stays_longer_leaves_the_default_type() -> None:
    def stay() -> None:
        with plain_defaults():
            left.append(torch.get_default_dtype())

    left: list[torch.dtype] = []
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with plain_defaults():
            other = Thread(target=stay)
            other.start()
            other.join(0.2)
            assert not left
        other.join()
        assert left == [torch.float32]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(default)
