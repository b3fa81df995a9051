"""The page served on this machine alone."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from drmetric import __version__
from drmetric.browser.build import command
from drmetric.errors import InputError

__all__ = ["server"]

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class _Handler(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def guess_type(self, path: Any) -> str:
        """Modules and WebAssembly run only under their own types, which some systems do not know."""
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a built page on 127.0.0.1, which no other machine can reach; port 0 takes a free one.

    Raises:
        InputError: the page has not been built there, or by another release; the port is in use.
    """
    page, fix = folder / "page.json", f"{command(folder, '--build')}  # once; fetches onnxruntime-web from npm"
    if not page.is_file():
        raise InputError(f"there is no page in {folder}", fix)
    version = json.loads(page.read_text(encoding="utf-8")).get("version")
    if version != __version__:
        raise InputError(f"the page in {folder} is of drmetric {version}, this is {__version__}", fix)
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        problem = f"no page can be served at port {port}: {error.strerror}"
        raise InputError(problem, f"{command(folder, '--port 0')}  # takes a free one") from error
