"""Metrics without Python: `drmetric export`, and in the browser, `drmetric app`."""

from pathlib import Path
from typing import Annotated

import typer

from drmetric.cli.console import note, say
from drmetric.cli.entries import check_name
from drmetric.errors import InputError, quoted

commands = typer.Typer(rich_markup_mode=None)


@commands.command(epilog="Example: drmetric export driqa --onnx driqa.onnx")
def export(
    metric: Annotated[str, typer.Argument(help="Name of the metric: driqa, nariqa, nriqa; see drmetric list.")],
    onnx: Annotated[Path, typer.Option(help="File to write.", metavar="FILE.onnx")],
    weights: Annotated[str | None, typer.Option(help="Name or path of the weights.")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits: a quarter of the size, and other scores.")
    ] = False,
) -> None:
    """Write a metric as an ONNX file for images of all sizes, checked against the metric before it is written.

    Inputs are float32 RGB in [0, 1]: restored (N,3,H,W), and degraded of that size or smaller (the resize is in the
    graph); or image alone. Outputs are score (N,) and, where the metric has one, map (N,1,h,w).
    """
    from drmetric import example
    from drmetric.metrics.export import Pair, export_onnx
    from drmetric.metrics.registry import create

    check_name(metric, f"drmetric export {{}} --onnx {quoted(onnx)}")
    if onnx.suffix.lower() != ".onnx":
        raise InputError(
            f"--onnx is {str(onnx)!r}; wanted a name that ends in .onnx",
            f"--onnx {quoted(onnx.with_suffix('.onnx'))}",
        )
    made = create(metric, **({} if weights is None else {"weights": weights}))
    pairs: list[Pair] = [pair if made.needs_reference else pair[:1] for pair in example.pairs()]
    written = export_onnx(made, onnx, calibration=pairs if int8 else None)
    say(f"{written.path}: {', '.join(written.inputs)} -> {', '.join(written.outputs)}")
    typer.echo(f"largest difference from {metric} on images of five sizes: {written.largest_difference:.2g}")


@commands.command(epilog="Example: drmetric app --build && drmetric app")
def app(
    build: Annotated[
        bool, typer.Option("--build", help="Make the page and end: fetches onnxruntime-web from npm, 15 MB.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Of the page. Default: page/ in $DRMETRIC_HOME.")] = None,
    runtime: Annotated[
        Path | None, typer.Option(help="With --build: the tarball of onnxruntime-web, instead of npm.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    show: Annotated[bool, typer.Option("--show/--no-show", help="Open the page in the browser.")] = True,
) -> None:
    """Serve a page on this machine alone that scores images in the browser: scores, map, consistency, a slider.

    The page is built once; from then on nothing is fetched, and no image leaves the browser.
    """
    import webbrowser

    from drmetric.browser.build import RUNTIME, built_folder, command
    from drmetric.browser.build import build as build_page
    from drmetric.browser.server import server
    from drmetric.metrics.export import check_packages

    folder = folder or built_folder()
    if build:
        check_packages()
        note(f"{runtime or f'npm pack {RUNTIME}'}, and four metrics are exported, into {folder}")
        build_page(folder, runtime)
        say(f"{folder}: serve it by {command(folder)}")
        return
    if runtime:
        fix = command(folder, "--build", "--runtime", quoted(runtime))
        raise InputError("--runtime is for --build, which makes the page", fix)
    with server(folder, port) as serving:
        address = f"http://127.0.0.1:{serving.server_port}/"
        typer.echo(f"{address}  (Ctrl-C ends it)")
        if show:
            webbrowser.open(address)
        serving.serve_forever()
