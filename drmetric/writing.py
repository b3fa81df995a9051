"""Files that are written whole or not at all, by one process at a time."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO, Self

from drmetric.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["SoleWriter", "WriterLock", "remember", "room_for", "sole_writer", "stamp", "write_whole"]

_WRITERS: "list[SoleWriter]" = []
"""Those whose `with` block has been entered and not left."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: whatever happens, it holds what it did, or all of `content`.

    Raises:
        OutputError: another process is writing it.
        OSError: it cannot be written; nothing is left of the attempt.
    """
    _replace(path, content).close()
    remember(path)


def room_for(path: Path) -> None:
    """Make the folder of a file that is to be written after long work.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        problem = "it is a folder" if path.is_dir() else "" if os.access(path.parent, os.W_OK) else "no permission"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise OutputError(f"cannot write {str(path)!r}: {problem}", "give a file in a folder that you may write to")


def stamp(path: Path) -> tuple[int, ...]:
    """What differs where a file was written again; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def remember(path: Path) -> None:
    """Say that this process has finished a file: the `SoleWriter` of its folder sees whether it stays."""
    for writer in _WRITERS:
        writer.finished[path.absolute()] = stamp(path)


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
        self._descriptor = -1
        if fcntl is None:
            if not path.is_dir():
                path.open("ab").close()
            return
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
        """Whether the path is still what was locked: neither deleted nor replaced; without locks, whether it exists."""
        if self._descriptor < 0:
            return self.path.exists()
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def replace(self, content: bytes) -> None:
        """`write_whole` of the locked file; the lock moves to the new one before that has the name."""
        file = _replace(self.path, content)
        if self._descriptor >= 0:
            self.release()
            self._descriptor = os.dup(file.fileno())
        file.close()

    def release(self) -> None:
        """Let others write it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class SoleWriter(WriterLock):
    """The lock on a folder of results, and on leaving it without an error, a look at what was written meanwhile.

    Raises:
        OutputError: on leaving, a file was deleted, replaced or changed since this process finished it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.finished: dict[Path, tuple[int, ...]] = {}
        """Files by what `stamp` gave when they were finished."""

    def __enter__(self) -> Self:
        _WRITERS.append(self)
        return self

    def __exit__(self, *raised: object) -> None:
        _WRITERS.remove(self)
        self.release()
        if any(raised):
            return
        if changed := [str(path) for path, made in self.finished.items() if stamp(path) != made]:
            raise OutputError(
                f"{', '.join(map(repr, changed))} was deleted or changed by others before the command ended",
                "run the same command again",
            )


def sole_writer(folder: Path) -> SoleWriter:
    """The lock on a folder of results, which is made where there is none.

    Raises:
        OutputError: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return SoleWriter(folder)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write in {str(folder)!r}: {error.strerror or error}", "give a folder that you may write to"
        ) from error


def _replace(path: Path, content: bytes) -> BinaryIO:
    """Returns the new file, open and locked if the system has locks; what a killed process left is overwritten.

    A link stays one, to the new file. Who may read what was there may read the new file.
    """
    path = path.resolve() if path.is_symlink() else path
    passing = path.with_name(f"{path.name}.tmp")
    file = _sole(passing, path)
    try:
        file.truncate()
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, passing)
        if fcntl is None:
            file.close()  # Windows renames no open file
        os.replace(passing, path)
    except BaseException:
        if fcntl is None:
            file.close()
        passing.unlink(missing_ok=True)
        file.close()
        raise
    return file


def _sole(passing: Path, path: Path) -> BinaryIO:
    """The file of the passing name, made or as it is, locked for this process, which is to write `path`."""
    while True:
        file = os.fdopen(os.open(passing, os.O_RDWR | os.O_CREAT, 0o666), "wb")
        try:
            _lock(file.fileno(), path)
            if os.path.samestat(passing.stat(), os.fstat(file.fileno())):
                return file
        except FileNotFoundError:
            pass  # it got the name of the file, or was deleted, between the two steps
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"another run is writing {str(path)!r}", "wait until it has ended, or choose another output"
        ) from error
    except OSError:  # a disk without locks
        return
