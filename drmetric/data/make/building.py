"""Folders of images made content by content: in parallel, never twice, described in a manifest.

corpus.json      the settings; no others may add to the folder
contents.csv     content, source, split, file: the split, made once, by content
records/         one JSONL file a content: how each image was made
manifest.jsonl   all records
"""

import csv
import io
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from drmetric.data.make.photographs import Content
from drmetric.data.splits import SPLITS, Split
from drmetric.errors import ConfigError, DrmetricError, ImageFileError, quoted
from drmetric.text import no_formula, printable
from drmetric.writing import write_whole

log = logging.getLogger(__name__)


def build_contents(
    settings: Any,
    contents: Sequence[Content],
    output: Path,
    make: Callable[[Any, Content, Path], int],
    workers: int,
    splits: Sequence[Split] = SPLITS,
) -> Path:
    """Make every content that has no record file yet, then the manifest.

    Args:
        settings: a dataclass, handed to `make`; a folder made with others is refused.
        contents: all of the corpus.
        output: its folder.
        make: makes one content's images below `output` and its record file; called in a process of its own.
        workers: processes.
        splits: whose contents are made now.

    Returns:
        The path of the manifest.

    Raises:
        ConfigError: an output folder made with other settings, or no photograph that a crop can be cut from.
        DrmetricError: some contents failed; all others are done, and the message names them.
    """
    _pin_settings(settings, output)
    done = {p.stem for p in (output / "records").glob("*.jsonl")}
    wanted = [c for c in contents if c.split in splits]
    failed = {}
    with worker_pool(workers) as pool:
        jobs = {pool.submit(make, settings, c, output): c for c in wanted if c.name not in done}
        for count, job in enumerate(as_completed(jobs), start=1):
            if error := job.exception():
                failed[jobs[job].name] = error
            if count % 50 == 0 or count == len(jobs):
                log.info("%d of %d contents built", count, len(jobs))
    made = done | {c.name for c in wanted}
    records = [
        record
        for c in contents
        if c.name in made and c.name not in failed
        for record in read_part(output / "records" / f"{c.name}.jsonl")
    ]
    write_records(output / "manifest.jsonl", _with_labels(records, output / "manifest.jsonl"))
    _write_contents(contents, {r["content"] for r in records}, output / "contents.csv")
    if failed:
        listing = "; ".join(f"{name}: {error}" for name, error in list(failed.items())[:5])
        unreadable = all(isinstance(error, ImageFileError) for error in failed.values())
        fix = "delete these files or put good ones in their place, and run it again" if unreadable else "run it again"
        raise DrmetricError(f"{len(failed)} of {len(wanted)} contents failed: {listing}", fix)
    _report_unused(wanted, {record["content"] for record in records}, output)
    return output / "manifest.jsonl"


def _with_labels(records: list[dict[str, Any]], manifest: Path) -> list[dict[str, Any]]:
    """The records, with what an earlier run has added to those that are as they were: it may not come to that again."""
    try:
        known = {_image_of(row): row for row in read_manifest(manifest)}
    except ConfigError:  # there is none yet, or a broken one, whose place this one takes
        known = {}
    earlier = [known.get(_image_of(record), {}) for record in records]
    return [
        before if record.items() <= before.items() else record for record, before in zip(records, earlier, strict=True)
    ]


def _image_of(record: dict[str, Any]) -> Any:
    return record.get("restored", record.get("image"))


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that end with this one, also where it is killed: they hold its pipes and its locks."""
    return ProcessPoolExecutor(workers, initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _report_unused(wanted: Sequence[Content], used: set[str], output: Path) -> None:
    """Log how many photographs of each source gave no image; raise `ConfigError` where none of all gave one."""
    unused = Counter(content.source for content in wanted if content.name not in used)
    for source, count in unused.items():
        log.info("left out of source %r, smaller than the crop or almost flat: %d", source, count)
    if wanted and unused.total() == len(wanted):
        raise ConfigError(
            f"none of the {len(wanted)} photographs for {output} gives a crop: all are too small, or almost flat",
            'folder = "FOLDER"  # in [[sources]]: photographs with more in them; and another --output folder',
        )


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write JSONL whole or not at all: a killed build leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(r) + "\n" for r in records).encode())


def read_manifest(path: Path, command: str = "corpus") -> list[dict[str, Any]]:
    """Records of a manifest.jsonl that `command` makes; raises `ConfigError` where it is missing or broken."""
    return _read(path, "manifest", f"drmetric {command} CONFIG.toml --output {quoted(path.parent)}")


def read_part(path: Path) -> list[dict[str, Any]]:
    """Those of one content; raises `ConfigError` where the file is missing or broken: it is made again if deleted."""
    return _read(path, "file of records", f"rm {quoted(path)}  # and run the same command again")


def _read(path: Path, what: str, fix: str) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"no {what} at {path}", fix)
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is no object")
        return records
    except ValueError as error:
        raise ConfigError(f"{path} is no {what}: {error}", fix) from error


def labelled_records(root: Path, command: str) -> list[dict[str, Any]]:
    """Those of the folder's manifest, as of `read_manifest`; raises `ConfigError` where one has no label, too."""
    manifest = root / "manifest.jsonl"
    records = read_manifest(manifest, command)
    if not all("label" in record for record in records):
        raise ConfigError(f"{manifest} has no labels", f"drmetric {command} CONFIG.toml --output {quoted(root)}")
    return records


def _pin_settings(settings: Any, output: Path) -> None:
    """Refuse to mix two configurations in one folder."""
    output.mkdir(parents=True, exist_ok=True)
    pinned = output / "corpus.json"
    text = json.dumps(asdict(settings), indent=1)
    if pinned.exists() and pinned.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{output} holds a corpus made with other settings ({pinned})", f"--output {quoted(f'{output}-2')}"
        )
    write_whole(pinned, text.encode())


def _write_contents(contents: Sequence[Content], used: set[str], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["content", "source", "split", "file"])
    for c in contents:
        if c.name in used:
            writer.writerow(no_formula(printable(each)) for each in (c.name, c.source, c.split, c.file.name))
    write_whole(path, text.getvalue().encode())
