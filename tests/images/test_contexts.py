"""What callers set for all tensors is set again afterwards."""

import os
from threading import Event, Thread

import pytest
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded")
def test_a_child_that_is_forked_meanwhile_does_not_wait_for_ever() -> None:
    entered = Event()

    def stay() -> None:
        with plain_defaults():
            entered.set()
            Event().wait(0.3)

    other = Thread(target=stay)
    other.start()
    entered.wait()
    child = os.fork()
    if not child:
        with plain_defaults():
            os._exit(7)
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
