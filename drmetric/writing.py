"""Files that are written whole or not at all, by one process at a time."""

import os
from pathlib import Path
from typing import BinaryIO, Self

from drmetric.errors import OutputError

__all__ = ["WriterLock", "sole_writer", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: whatever happens, it holds what it did, or all of `content`.

    Raises:
        OSError: it cannot be written; nothing is left of the attempt.
    """
    _replace(path, content).close()


class WriterLock:
    """Says that this process alone writes a file or a folder, until it is released or the process ends.

    The lock is on the file itself, so that nothing is left of it beside the file. Where the system has no such locks
    (Windows, some network disks), nobody is refused. Use it as a context manager, or release it.

    Args:
        path: a folder that exists, or a file, which is made where there is none.

    Raises:
        OutputError: another process holds it.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        while True:
            self._descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(self._descriptor, path)
            except OutputError:
                self.release()
                raise
            if self.holds:
                return
            self.release()  # it was replaced between the two steps

    @property
    def holds(self) -> bool:
        """Whether the path is still what was locked: neither deleted nor replaced."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def replace(self, content: bytes) -> None:
        """`write_whole` of the locked file; the lock moves to the new one before that has the name."""
        file = _replace(self.path, content, lock=True)
        self.release()
        self._descriptor = os.dup(file.fileno())
        file.close()

    def release(self) -> None:
        """Let others write it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def sole_writer(folder: Path) -> WriterLock:
    """The lock on a folder of results, which is made where there is none.

    Raises:
        OutputError: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return WriterLock(folder)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write in {str(folder)!r}: {error.strerror or error}", "give a folder that you may write to"
        ) from error


def _replace(path: Path, content: bytes, lock: bool = False) -> BinaryIO:
    """Returns the new file, still open; what a killed process left under the passing name is overwritten."""
    passing = path.with_name(f"{path.name}.tmp")
    file = passing.open("wb")
    try:
        if lock:
            _lock(file.fileno(), path)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.replace(passing, path)
    except BaseException:
        passing.unlink(missing_ok=True)
        file.close()
        raise
    return file


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"another run is writing {str(path)!r}", "wait until it has ended, or choose another output"
        ) from error
    except OSError:  # a disk without locks
        return
