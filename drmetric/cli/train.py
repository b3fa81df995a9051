"""Make your own metric: `drmetric train`, `corpus`, `conditions`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from drmetric.cli.console import logged, say
from drmetric.writing import room_for, sole_writer

commands = typer.Typer(rich_markup_mode=None)


class Split(StrEnum):
    train = "train"
    validation = "validation"
    test = "test"


@commands.command(epilog="Example: drmetric train weights/driqa-mobilenetv2-12/recipe.toml --output runs/driqa")
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe of the training.", metavar="RECIPE.toml")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    max_time: Annotated[str | None, typer.Option(help="Stop after DD:HH:MM:SS; --resume continues.")] = None,
) -> None:
    """Train a metric from a recipe."""
    from drmetric.distill.trainer import train as run

    say(run(recipe, resume=resume, output=output, max_time=max_time))


@commands.command(epilog="Example: drmetric corpus corpus.toml --output data/corpus --workers 4")
def corpus(
    config: Annotated[Path, typer.Argument(help="Configuration of the corpus.", metavar="CONFIG.toml")],
    output: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    fusion: Annotated[Path | None, typer.Option(help="JSON file of the label; the bundled one by default.")] = None,
    split: Annotated[
        list[Split] | None, typer.Option(help="Build train, validation or test alone; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Build a corpus of degraded and restored images from pristine ones and label it; repeat it to continue."""
    from drmetric.data.make.corpus import build
    from drmetric.data.make.labels import Fusion, bundled_fusion, label, signatures_of

    fused = Fusion.read(fusion) if fusion else bundled_fusion()
    signatures_of(fused)  # what cannot label is named before anything is made
    with logged(), sole_writer(output):
        build(config, output, workers, [each.value for each in split or Split])
        say(label(output, fused, workers))


@commands.command(epilog="Example: drmetric conditions kadid10k.toml --output data/conditions --workers 4")
def conditions(
    config: Annotated[Path, typer.Argument(help="Photographs, opinions, how many conditions.", metavar="CONFIG.toml")],
    output: Annotated[Path, typer.Option(help="Folder of the images.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Make KADID-10k's distortions on your photographs, labelled with their mean opinions; repeat it to continue."""
    from drmetric.data.make.conditions import build

    with logged(), sole_writer(output):
        say(build(config, output, workers))


@commands.command("fit-niqe", epilog="Example: drmetric fit-niqe photographs/ -o niqe.safetensors")
def fit_niqe(
    folder: Annotated[
        Path, typer.Argument(help="Clean photographs, or a corpus: the pristine images of its training split.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the model.")] = Path("niqe.safetensors"),
    count: Annotated[int, typer.Option(min=1, help="Photographs that are used, the first of them.")] = 200,
) -> None:
    """Fit NIQE's model of natural images; boards take it by options = { weights = "niqe.safetensors" }."""
    from drmetric.data.sets import corpus
    from drmetric.images import check_image, list_images, read_image
    from drmetric.metrics import niqe

    room_for(output)
    if (folder / "manifest.jsonl").is_file():
        training = [image.reference for image, split in corpus.read(folder) if split == "train"]
        photographs = list(dict.fromkeys(path for path in training if path is not None))
    else:
        photographs = list_images(folder)
    clean = (check_image(read_image(path)[None], str(path), niqe.PATCH) for path in photographs[:count])
    model = niqe.fit_niqe(clean)
    model.save(output)
    say(f"{output}: fitted to {min(count, len(photographs))} photographs")
