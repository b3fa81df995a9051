"""The `drmetric bench` commands; what needs torch is imported inside them, so that --help is instant."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drmetric.bench.tables import Table
from drmetric.cli.console import failures, note, progress, say, show
from drmetric.cli.engines import Address, DeviceOption, Engine, EngineOption, Workers, make_engine
from drmetric.cli.entries import metric_entry
from drmetric.errors import ConfigError, InputError, quoted, refuse_all
from drmetric.writing import sole_writer

if TYPE_CHECKING:
    from drmetric.bench.judges import Entry
    from drmetric.bench.methods.config import Config as MethodsConfig

LARGEST_SEED = 2**32 - 1
MOST_RESAMPLES = 1_000_000
commands = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Rank metrics, and rank restoration methods.")


@commands.callback()
def bench() -> None:
    """Rank metrics by labels, and restoration methods by metrics."""


@commands.command()
def metrics(
    config: Annotated[Path, typer.Argument(help="TOML file: [data] set, root, split; [[metrics]] name, ...")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results [default: runs/<config's name>]"),
    ] = None,
    device: DeviceOption = "auto",
    bootstrap: Annotated[int, typer.Option(help="Resamples of each interval", min=1, max=MOST_RESAMPLES)] = 1000,
) -> None:
    """Rank metrics by their agreement with a corpus' labels, with human opinions, or with choices between pairs.

    Writes scores.jsonl (an interrupted run is continued), table.csv and table.md, and prints the table.
    Exits with 1 if any image could not be scored by any of the metrics.
    """
    from drmetric.bench.agreement.board import run
    from drmetric.bench.agreement.config import Config
    from drmetric.bench.engines.local import usable_device

    settings = Config.read(config)
    folder = output or Path("runs") / config.stem
    where = usable_device(device)
    with sole_writer(folder), progress("scoring") as bar:
        board = run(settings, folder, device=where, n_bootstrap=bootstrap, progress=bar, warn=note)
    _finish(
        board.tables(),
        [folder / name for name in ("table.md", "table.csv", "scores.jsonl")],
        _counted("images", ((failure.metric, failure.error) for failure in board.errors)),
    )


Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder of the report [default: runs/ and the name of the config, of --degraded, or else of --truth]",
    ),
]
Resamples = Annotated[
    int, typer.Option("--bootstrap", help="Resamples of each interval and test", min=1, max=MOST_RESAMPLES)
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the resamples", min=0, max=LARGEST_SEED)]


@commands.command(epilog="Example: drmetric bench methods --degraded lr/ --truth hr/ outputs/edsr outputs/rcan")
def methods(
    board: Annotated[
        list[Path],
        typer.Argument(
            help="A folder of outputs a method, with --degraded, --truth or a --metric that needs neither; or a TOML "
            "file: [data], [[methods]], [[metrics]].",
            metavar="OUTPUTS_OR_CONFIG",
        ),
    ],
    degraded: Annotated[Path | None, typer.Option(help="Of folders: the inputs that the methods were given.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Of folders: ground truth, where there is some.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Of folders: metric of drmetric list, such as 'psnr(channel=y)'; repeatable "
            "[default: driqa with --degraded, and with --truth lpips and PSNR-Y]"
        ),
    ] = None,
    output: Output = None,
    preset: Annotated[
        str, typer.Option(help="Metrics beside those named: ntire-sr (a challenge's), dr (no truth), fr (truth)")
    ] = "",
    device: DeviceOption = "auto",
    bootstrap: Resamples = 10_000,
    seed: Seed = 0,
    latex_intervals: Annotated[bool, typer.Option(help="Intervals in table.tex, behind the means.")] = True,
    engine: EngineOption = Engine.local,
    address: Address = None,
    workers: Workers = None,
) -> None:
    """Rank restoration methods by the scores of their outputs.

    A method is called as its folder; images pair by name, as in drmetric score.
    Writes scores.jsonl (an interrupted run is continued), report.html, table.md, .csv, .jsonl, .parquet and
    .tex, and lock.json, and prints the table. Exits with 1 if any score is missing.
    """
    settings = _board(board, degraded, truth, metric or [], preset)
    parent = settings.around.parent if settings.of_command else settings.folder
    folder = output or _usual_folder(settings, f"{parent.resolve().name}-{settings.name}")
    _rank_methods(settings, folder, device, bootstrap, seed, engine, address, workers, latex_intervals)


@commands.command(epilog="Example: drmetric bench demo -o demo/")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of images, configuration and report")] = Path(
        "runs/demo"
    ),
    device: DeviceOption = "auto",
) -> None:
    """Rank three methods on the images that come with drmetric; the configuration is yours to change."""
    from drmetric.bench.methods.config import Config
    from drmetric.bench.methods.demo import write_demo

    config = write_demo(output)
    _rank_methods(Config.read(config), output, device, 10_000, 0)
    note("on your images: drmetric bench methods --degraded INPUTS OUTPUTS_A OUTPUTS_B")
    note(f"or change {config}, then drmetric bench methods {config} -o {output}")


@commands.command(epilog="Example: drmetric bench verify report/lock.json --sample 50")
def verify(
    lock: Annotated[Path, typer.Argument(help="lock.json of a report, or its folder", metavar="LOCK")],
    sample: Annotated[int, typer.Option(help="Scores to compute again", min=1)] = 20,
    device: DeviceOption = "auto",
) -> None:
    """Say whether the numbers of a report still hold: same files, same metrics, same scores.

    Exits with 1 if anything differs, and names it.
    """
    from drmetric.bench.engines.local import usable_device
    from drmetric.bench.methods.report.lock import verify as compare
    from drmetric.bench.provenance import TOLERANCE

    lock = lock / "lock.json" if lock.is_dir() else lock
    verdict = compare(lock, sample, usable_device(device))
    typer.echo(
        f"{verdict.recomputed} of {verdict.given} scores computed again; the largest change is "
        f"{verdict.largest * TOLERANCE:.1e}, where {TOLERANCE:.0e} (relative above 1) is allowed"
    )
    for difference in verdict.differences:
        note(f"differs: {difference}")
    if verdict.differences:
        raise typer.Exit(1)
    typer.echo("the numbers hold")


@commands.command(
    epilog="Example: drmetric bench gaming driqa lpips --images restored/ --degraded lr/ --truth hr/ -o gaming/"
)
def gaming(
    metric: Annotated[
        list[str], typer.Argument(help="Metrics to attack, such as driqa or 'niqe(weights=niqe.safetensors)'")
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images to attack (default: those that come with drmetric)")
    ] = None,
    degraded: Annotated[Path | None, typer.Option(help="Folder of their degraded inputs, paired by file name")] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder of their ground truth, paired by file name")] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="Metric that looks at the attacked images too; repeatable (default: psnr, ssim, lpips, vif)"),
    ] = None,
    psnr: Annotated[
        list[float] | None,
        typer.Option(help="PSNR of the attacked to the untouched image, in dB; repeatable (default: 40, 35)"),
    ] = None,
    spread: Annotated[
        list[Path] | None,
        typer.Option(help="scores.jsonl over a human-rated set, the unit of the gains; repeatable"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report")] = Path("runs/gaming"),
    steps: Annotated[int, typer.Option(help="Steps of the iterated and of the universal attack", min=1)] = 10,
    device: DeviceOption = "auto",
    bootstrap: Resamples = 1000,
    seed: Annotated[int, typer.Option(help="Seed of noise, halves and resamples", min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Attack metrics: what their scores gain from changes that do not help the image.

    Writes gaming.jsonl (an interrupted run is continued), table.md, table.csv and gaming.json, and prints the
    worst-case gain of each metric. Exits with 1 if any score is missing.
    """
    from drmetric.bench.engines.local import usable_device
    from drmetric.bench.gaming import tables as gaming_tables
    from drmetric.bench.gaming.gains import lines
    from drmetric.bench.gaming.run import run
    from drmetric.bench.gaming.settings import Settings

    settings = Settings(
        metrics=metric,
        images=images,
        degraded=degraded,
        truth=truth,
        witnesses=witness or Settings.witnesses,
        psnrs=psnr or Settings.psnrs,
        spreads=spread or (),
        steps=steps,
        seed=seed,
        n_bootstrap=bootstrap,
        device=usable_device(device),
    )
    with sole_writer(output):
        with progress("attacking") as bar:
            report = run(settings, output, bar, note)
        figures = lines(report)
        written = gaming_tables.write_report(report, figures, output)
    _finish(
        gaming_tables.tables(report, figures),
        written,
        _counted("scores", ((failure.metric, failure.error) for failure in report.failures)),
        report.kept,
    )


@commands.command(
    epilog="Example: drmetric bench fidelity driqa lpips --images restored/ --degraded lr/ --truth hr/ -o fidelity/"
)
def fidelity(
    metric: Annotated[
        list[str], typer.Argument(help="Metrics to probe, such as driqa or 'niqe(weights=niqe.safetensors)'")
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of restored images (default: those that come with drmetric)")
    ] = None,
    degraded: Annotated[Path | None, typer.Option(help="Folder of their degraded inputs, paired by file name")] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder of their ground truth, paired by file name")] = None,
    spread: Annotated[
        list[Path] | None,
        typer.Option(help="scores.jsonl over a human-rated set, the unit of the falls; repeatable"),
    ] = None,
    opinion: Annotated[
        bool, typer.Option("--opinion", help="Also predict people's opinion of each change; needs the extra bench")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(help="A score that falls by less has not fallen; in the metric's own spread", min=0)
    ] = 0.025,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report")] = Path("runs/fidelity"),
    device: DeviceOption = "auto",
    bootstrap: Resamples = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the changes and of the resamples", min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Probe metrics: whether their scores fall when the output leaves its input, and whether their maps say where.

    Writes fidelity.jsonl (an interrupted run is continued), table.md, table.csv, table.tex and fidelity.json, and
    prints the tables. Exits with 1 if any score is missing.
    """
    from drmetric.bench.engines.local import usable_device
    from drmetric.bench.fidelity import tables as fidelity_tables
    from drmetric.bench.fidelity.figures import lines
    from drmetric.bench.fidelity.run import run
    from drmetric.bench.fidelity.settings import Settings
    from drmetric.bench.scores.subjects import Folders

    settings = Settings(
        metrics=metric,
        folders=Folders(images, degraded, truth),
        spreads=spread or (),
        opinion=opinion,
        tolerance=tolerance,
        seed=seed,
        n_bootstrap=bootstrap,
        device=usable_device(device),
    )
    with sole_writer(output):
        with progress("probing") as bar:
            report = run(settings, output, bar)
        figures = lines(report)
        written = fidelity_tables.write_report(report, figures, output)
    _finish(
        fidelity_tables.tables(report, figures),
        written,
        _counted("scores", ((failure.metric, failure.error) for failure in report.failures)),
        report.kept,
    )


def _board(
    board: Sequence[Path], degraded: Path | None, truth: Path | None, metrics: Sequence[str], preset: str
) -> "MethodsConfig":
    """The board of a file, or of folders."""
    from drmetric.bench.methods.config import Config, presets

    if preset and preset not in presets():
        raise InputError(
            f"unknown preset {preset!r}; known: {', '.join(presets())}",
            f"--preset {presets()[0]}",
        )
    files = [path for path in board if path.suffix.lower() == ".toml" or (degraded is None and path.is_file())]
    of_folders = {"--degraded": degraded, "--truth": truth, "--metric": metrics}
    given = [option for option, value in of_folders.items() if value]
    if files and (given or len(board) > 1):
        what = given[0] if given else f"{len(board)} paths"
        raise InputError(
            f"{files[0]} is a configuration, which says all of it; {what} came beside it",
            f"drmetric bench methods {files[0]}",
        )
    if files:
        return Config.read(files[0], preset)
    if not (given or preset):
        raise InputError(
            f"{str(board[0])!r} is no TOML file, and folders of outputs need what they are compared with",
            "--degraded INPUTS  # or --truth FOLDER, or --metric nriqa, which compares with nothing",
        )
    entries = [metric_entry(name) for name in metrics]
    _refuse_metrics(entries, {"degraded": degraded, "truth": truth})
    return Config.of_folders(board, degraded, truth, entries, preset)


def _refuse_metrics(entries: "Sequence[Entry]", folders: Mapping[str, Path | None]) -> None:
    """Raise an `InputError` where two metrics have one name, or one that was asked for lacks what it compares with."""
    from drmetric.bench.scores.rows import WORDS

    titles = [entry.title for entry in entries]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise InputError(f"two metrics are called {twice[0]!r}", "name each metric once, or label one in its brackets")
    given = [kind for kind, folder in folders.items() if folder is not None]
    lacking = [(entry, entry.meets()) for entry in entries if entry.lacks(given)]
    refuse_all(
        [
            InputError(
                f"{entry.title} compares each output with its {WORDS[kind]}, and none was given", f"--{kind} FOLDER"
            )
            for entry, kind in lacking
        ]
    )


def _usual_folder(board: "MethodsConfig", longer_name: str) -> Path:
    """The folder of a board's report; raises `InputError` where that of another board is there."""
    usual = Path("runs") / board.name
    other = _other_board(usual, board)
    if other is None:
        return usual
    names = chain([longer_name], (f"{longer_name}-{number}" for number in count(2)))
    free = next(folder for name in names if _other_board(folder := Path("runs") / name, board) is None)
    raise InputError(
        f"{str(usual)!r} holds the report of another board: {_described(other)}; this one: {_described(board)}",
        f"-o {quoted(free)}",
    )


def _other_board(folder: Path, board: "MethodsConfig") -> "MethodsConfig | None":
    """That of the report in a folder, unless it is the same: configured in one folder, and of the same inputs or truth;
    without these, with a method in common."""
    from drmetric.bench.methods.report.lock import config_of

    try:
        found = config_of(folder / "lock.json")
    except ConfigError:  # there is none, or it says nothing
        return None
    folders = [{method.folder.resolve() for method in each.methods} for each in (found, board)]
    is_known = board.degraded or board.truth or set.intersection(*folders)
    return None if is_known and _described(found) == _described(board) else found


def _described(board: "MethodsConfig") -> str:
    what = "inputs" if board.degraded else "truth" if board.truth else "outputs"
    return f"{what} in {str(board.around.resolve())!r}, configured in {str(board.folder.resolve())!r}"


def _rank_methods(
    config: "MethodsConfig",
    output: Path,
    device: str,
    n_bootstrap: int,
    seed: int,
    engine: Engine = Engine.local,
    address: str | None = None,
    workers: int | None = None,
    latex_intervals: bool = True,
) -> None:
    from drmetric.bench.methods.board import run
    from drmetric.bench.methods.report.files import refuse_without_packages, write_report
    from drmetric.bench.methods.tables import failures as failed_scores
    from drmetric.bench.methods.tables import results

    refuse_without_packages()
    score = make_engine(engine, device, output / "scores.jsonl", address=address, workers=workers)
    with sole_writer(output):
        with progress("scoring") as bar:
            board = run(config, output, engine=score, n_bootstrap=n_bootstrap, seed=seed, progress=bar, warn=note)
        written = [*write_report(board, config, output, latex_intervals), output / "scores.jsonl"]
    _finish([results(board)], written, failed_scores(board), board.scores.kept)


def _finish(tables: Sequence[Table], written: Sequence[Path], failed: Sequence[str], kept: int = 0) -> None:
    """Print the tables, and name what was written, what was kept and what failed."""
    show(*tables)
    say(f"written: {', '.join(map(str, written))}")
    if kept:
        note(f"note: {kept} scores were kept from an earlier run")
    failures(failed)


def _counted(things: str, failed: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each metric and error, the most frequent first."""
    return [f"{metric} on {count} {things}: {error}" for (metric, error), count in Counter(failed).most_common()]
