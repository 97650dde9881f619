"""The corpus: documentation as Debian's packages bring it, laid out as one folder, served on loopback, and indexed.

Nothing is installed: the packages are downloaded by apt's own client and unpacked into the cache. English pages only,
without the subject indexes and generated lists of links that name every other page. A page's address is the same in
every run, `http://127.0.0.1:8766/SITE/PLACE`, so gold pages can be written down; the version of each package is kept.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.servers import ROOT

CACHE = ROOT / ".sdk" / "research"
PORT = 8766
BASE = f"http://127.0.0.1:{PORT}/"


class Package(NamedTuple):
    """A package of Debian's: the site its pages become, and the folder they are in."""

    name: str
    site: str
    folder: str


PACKAGES = (
    Package("apache2-doc", "apache", "usr/share/doc/apache2-doc/manual/en"),
    Package("bind9-doc", "bind", "usr/share/doc/bind9-doc/arm"),
    Package("cmake-doc", "cmake", "usr/share/doc/cmake-data/html"),
    Package("debian-handbook", "handbook", "usr/share/doc/debian-handbook/html/en-US"),
    Package("debian-policy", "policy", "usr/share/doc/debian-policy"),
    Package("debian-reference-en", "reference", "usr/share/debian-reference"),
    Package("debmake-doc", "debmake", "usr/share/doc/debmake-doc/html"),
    Package("developers-reference", "developers", "usr/share/developers-reference"),
    Package("exim4-doc-html", "exim", "usr/share/doc/exim4-doc-html/spec_html"),
    Package("git-doc", "git", "usr/share/doc/git-doc"),
    Package("haproxy-doc", "haproxy", "usr/share/doc/haproxy/html"),
    Package("installation-guide-amd64", "installation", "usr/share/doc/installation-guide-amd64/en"),
    Package("linux-doc-6.1", "linux", "usr/share/doc/linux-doc-6.1/html"),
    Package("postfix-doc", "postfix", "usr/share/doc/postfix/html"),
    Package("postgresql-doc-15", "postgresql", "usr/share/doc/postgresql-doc-15/html"),
    Package("python-django-doc", "django", "usr/share/doc/python-django-doc/html"),
    Package("python-sqlalchemy-doc", "sqlalchemy", "usr/share/doc/python-sqlalchemy-doc/html"),
    Package("python3.11-doc", "python", "usr/share/doc/python3.11/html"),
    Package("sqlite3-doc", "sqlite", "usr/share/doc/sqlite3"),
)
_LEFT_OUT = re.compile(
    r"(^|/)(_modules|_sources|_static|translations)/|(^|/)((gen|book)index[\w-]*|index|search|py-modindex|developers-reference)\.html$|\.(de|ja|ru|zh-cn|zh-tw)\.html$"
)


class Corpus(NamedTuple):
    """Where the pages and the index are, and what was said of them when they were made."""

    pages: Path
    data: Path
    size: int
    versions: dict[str, str]
    indexed: dict[str, float]


def prepare(cache: Path = CACHE) -> Corpus:
    """Everything there, made where it is missing: packages, pages, index."""
    note = cache / "corpus.json"
    if not note.exists():
        versions = {package.name: unpack(cache, package) for package in PACKAGES}
        shutil.rmtree(cache / "pages", ignore_errors=True)
        size = sum(lay_out(cache, package) for package in PACKAGES)
        said = {"size": size, "versions": versions, "indexed": index(cache)}
        note.write_text(json.dumps(said, indent=2))
    said = json.loads(note.read_text())
    return Corpus(cache / "pages", cache / "data", said["size"], said["versions"], said["indexed"])


def unpack(cache: Path, package: Package) -> str:
    """Download and unpack a package, once; its version."""
    folder = cache / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(folder.glob(f"{package.name}_*.deb"))
    if not found:
        print(f"downloading {package.name}", file=sys.stderr, flush=True)
        subprocess.run(["apt-get", "download", "--quiet", package.name], cwd=folder, check=True, capture_output=True)
        found = sorted(folder.glob(f"{package.name}_*.deb"))
    tree = cache / "tree" / package.name
    if not tree.exists():
        subprocess.run(["dpkg", "-x", str(found[-1]), str(tree)], check=True)
    shown = subprocess.run(["dpkg-deb", "-f", str(found[-1]), "Version"], check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def lay_out(cache: Path, package: Package) -> int:
    """Put a package's pages below its site's folder; how many there are."""
    root, site = cache / "tree" / package.name / package.folder, cache / "pages" / package.site
    count = 0
    for path in sorted(root.rglob("*.html")):
        place = path.relative_to(root)
        if not path.is_file() or path.is_symlink() or _LEFT_OUT.search(place.as_posix()):
            continue
        target = site / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (0, 0))  # the index knows a file by its time and size
        count += 1
    if not count:
        raise RuntimeError(f"{package.name} has no pages in {package.folder}")
    return count


def index(cache: Path) -> dict[str, float]:
    """Fill the index of the `local` search provider, as an operator would; seconds and bytes."""
    data = cache / "data"
    command = [str(ROOT / ".venv/bin/antiphon"), "index", "add", str(cache / "pages"), "--url", BASE]
    print("indexing the corpus (once; a quarter of an hour)", file=sys.stderr, flush=True)
    began = time.perf_counter()
    subprocess.run([*command, "--data", str(data)], check=True)
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds), "bytes": (data / "search.db").stat().st_size}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, says nothing, and lists no folders."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """A folder is no page."""
        self.send_error(404)


@contextmanager
def served(pages: Path) -> Iterator[str]:
    """The pages at their addresses; the address they are below."""
    handler = functools.partial(_Quiet, directory=str(pages))
    with http.server.ThreadingHTTPServer(("127.0.0.1", PORT), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield BASE
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with served(prepare().pages) as base:
        print(f"the corpus is at {base}", flush=True)
        threading.Event().wait()
