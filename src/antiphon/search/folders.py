"""Files for the local index: the readable ones of a folder, without hidden ones and without links that lead elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from antiphon.search.sources import Keeper, Source

SUFFIXES = frozenset(
    ".html .htm .xhtml .md .markdown .rst .txt .text .pdf .docx .odt .rtf .pptx .odp .xlsx .ods .csv .tsv .json".split()  # noqa: SIM905
)
LARGEST = 50 * 10**6
MOST = 200_000


async def gather(source: Source, keeper: Keeper) -> None:
    """Bring a folder, or one file, up to date. Raises ValueError where it is not there."""
    root, paths = _look(Path(source.place))
    for path in paths:
        name = path.relative_to(root).as_posix()
        keeper.tell(name)
        try:
            found = path.stat()
            stamp = f"{found.st_mtime_ns} {found.st_size} {source.url}"
            if keeper.unchanged(name, stamp):
                continue
            if found.st_size > LARGEST:
                keeper.failed(name, f"it has more than {LARGEST // 10**6} MB")
                continue
            body = path.read_bytes()
        except OSError as error:
            keeper.failed(name, error.strerror or "it cannot be read")
            continue
        await keeper.keep(name, address(source, root.name, name), body, None, stamp)
    await keeper.forget_the_rest()


def address(source: Source, folder: str, name: str) -> str:
    """How a file is cited: below the folder's own URL, or as `file:FOLDER/NAME`, without the server's directories."""
    if source.url:
        return f"{source.url.rstrip('/')}/{quote(name)}"
    return f"file:{quote(folder)}/{quote(name)}" if folder else f"file:{quote(name)}"


def _look(place: Path) -> tuple[Path, Iterator[Path]]:
    """The folder that names are counted from, and its files."""
    if not place.exists():
        raise ValueError(f"{place} is not there.")
    return place if place.is_dir() else place.parent, _files(place)


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    count = 0
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and not path.is_symlink():
                count += 1
                if count > MOST:
                    return
                yield path
