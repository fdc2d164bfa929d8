"""The dashboard's files, as its build has left them in the package.

They are read once and kept: a few hundred kilobytes. A name that is none of theirs finds nothing, so no path leads out
of the folder. Names under `assets/` change with their contents and may be kept for ever; everything else is asked for
anew, for it says which of them are meant. Where the build has left a `.gz` beside a file, that is what goes out to whom
takes it.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent.parent / "dashboard" / "static"
INDEX: Final = "index.html"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_KNOWN: Final = {  # what a machine's own table may say otherwise
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


class File:
    """One file, and its form compressed by gzip; None where there is none."""

    __slots__ = ("compressed", "content", "headers")

    def __init__(self, name: str, content: bytes, compressed: bytes | None) -> None:
        self.content = content
        self.compressed = compressed
        suffix = Path(name).suffix
        media = _KNOWN.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.headers = {"Content-Type": media, "Content-Security-Policy": POLICY}
        self.headers["Cache-Control"] = _FOR_EVER if name.startswith("assets/") else "no-store"

    def answer(self, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """What goes out, and its header fields."""
        if self.compressed is None:
            return self.content, self.headers
        headers = {**self.headers, "Vary": "Accept-Encoding"}
        if not _takes_gzip(accept_encoding):
            return self.content, headers
        return self.compressed, {**headers, "Content-Encoding": "gzip"}


def is_built(folder: Path | None = None) -> bool:
    """Whether the page is in this installation, or in `folder`."""
    return ((folder or FOLDER) / INDEX).is_file()


def read_files(folder: Path = FOLDER) -> dict[str, File]:
    """Path of a URL -> File; "/" is the index. Empty where the page was not built."""
    if not is_built(folder):
        return {}
    found: dict[str, File] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        packed = path.with_name(f"{path.name}.gz")
        if not path.is_file() or name.startswith(".") or (path.suffix == ".gz" and path.with_suffix("").is_file()):
            continue
        file = File(name, path.read_bytes(), packed.read_bytes() if packed.is_file() else None)
        found["/" if name == INDEX else f"/{name}"] = file
    return found


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of 0."""
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False
