"""The Files API and file search stores over plain HTTP: the upload protocols, their edges, and whose things are whose."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.library import Quotas
from library_server import OTHER_KEY, LibraryServer, serving

FILES = "/upload/v1beta/files"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibraryServer]:
    with serving(tmp_path_factory.mktemp("data")) as started:
        yield started


def refused(answer: Any, status: int, name: str, *words: str) -> None:
    """An error in google.rpc's form, with these words."""
    assert answer.status == status, answer.body
    assert answer.error["code"] == status and answer.error["status"] == name
    for word in words:
        assert word in answer.error["message"]


# ---------------------------------------------------------------------------------------------------- files


def test_a_file_comes_in_one_piece_and_is_described_as_the_service_does(server):
    made = server.raw(FILES, b"hello", "text/markdown", x_goog_upload_file_name="note.md").json()["file"]
    digest = base64.b64encode(hashlib.sha256(b"hello").hexdigest().encode()).decode()
    id = made["name"].removeprefix("files/")
    assert made | {"createTime": "", "updateTime": "", "expirationTime": ""} == {
        "name": f"files/{id}",
        "mimeType": "text/markdown",
        "sizeBytes": "5",
        "createTime": "",
        "updateTime": "",
        "expirationTime": "",
        "sha256Hash": digest,
        "uri": f"{server.url}/v1beta/files/{id}",
        "downloadUri": f"{server.url}/v1beta/files/{id}:download?alt=media",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    assert made["createTime"] < made["expirationTime"]
    assert server.request("GET", f"/v1/files/{id}").json() == made
    bytes_again = server.request("GET", made["downloadUri"])
    assert bytes_again.body == b"hello" and bytes_again.headers["content-type"].startswith("text/markdown")
    assert "attachment" in bytes_again.headers["content-disposition"], "never a page of this server"
    assert server.request("DELETE", f"/v1beta/files/{id}").json() == {}
    refused(server.request("GET", f"/v1beta/files/{id}"), 404, "NOT_FOUND", f"files/{id}")


def test_files_are_listed_newest_first_a_page_at_a_time(tmp_path):
    with serving(tmp_path) as server:
        assert server.request("GET", "/v1beta/files").json() == {}
        names = [server.raw(FILES, b"x").json()["file"]["name"] for _ in range(5)][::-1]
        first = server.request("GET", "/v1beta/files?pageSize=2").json()
        second = server.request("GET", f"/v1beta/files?page_size=2&page_token={first['nextPageToken']}").json()
        third = server.request("GET", f"/v1beta/files?pageSize=2&pageToken={second['nextPageToken']}").json()
        listed = [file["name"] for page in (first, second, third) for file in page["files"]]
        assert listed == names and "nextPageToken" not in third
        for wrong in ("pageSize=0", "pageSize=x", "pageSize=101", "pageToken=%21", "pagesize=3", "alt=sse"):
            refused(server.request("GET", f"/v1beta/files?{wrong}"), 400, "INVALID_ARGUMENT")


def test_a_file_may_have_a_name_of_the_callers_choice_once(server):
    body = {"file": {"name": "files/my-notes", "display_name": "Notes ä", "sizeBytes": "2"}}
    url = server.start(FILES, body, 2)
    made = server.go_on(url, "upload, finalize", b"hi", 0)
    assert made.headers["x-goog-upload-status"] == "final"
    assert made.json()["file"]["name"] == "files/my-notes" and made.json()["file"]["displayName"] == "Notes ä"
    headers = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    refused(server.request("POST", FILES, body, headers), 409, "ALREADY_EXISTS", "files/my-notes")
    for wrong in ("files/UPPER", "files/-a", "files/a-", "files/" + "a" * 41, "files/a/b", "../x"):
        refused(server.request("POST", FILES, {"file": {"name": wrong}}, headers), 400, "INVALID_ARGUMENT", "file.name")


def test_another_project_has_its_own_files_and_sees_no_others(server):
    name = server.raw(FILES, b"mine").json()["file"]["name"]
    for method, path in (("GET", name), ("DELETE", name), ("GET", f"{name}:download?alt=media")):
        refused(server.request(method, f"/v1beta/{path}", key=OTHER_KEY), 404, "NOT_FOUND")
    assert name.encode() not in server.request("GET", "/v1beta/files?pageSize=100", key=OTHER_KEY).body
    assert server.request("GET", f"/v1beta/{name}").status == 200


def test_no_key_begins_nothing_and_a_guessed_upload_is_none(server):
    for query in ("", "?key=upload_id=1", "?upload_id=", "?x_upload_id=1"):
        answer = server.request("POST", f"{FILES}{query}", b"x", {"x-goog-upload-protocol": "raw"}, key=None)
        assert answer.status in (400, 401), (query, answer.body)
    answer = server.go_on(f"{FILES}?upload_id=guessed&upload_protocol=resumable", "upload, finalize", b"x", 0)
    refused(answer, 404, "NOT_FOUND")
    assert answer.headers["x-goog-upload-status"] == "cancelled"


def test_what_is_kept_once_is_kept_until_the_last_name_is_gone(tmp_path):
    with serving(tmp_path) as server:
        one, two = (server.raw(FILES, b"the same").json()["file"]["name"] for _ in range(2))
        assert len([path for path in (tmp_path / "blobs").glob("??/*")]) == 1
        server.request("DELETE", f"/v1beta/{one}")
        assert server.request("GET", f"/v1beta/{two}:download?alt=media").body == b"the same"
        server.request("DELETE", f"/v1beta/{two}")
        assert [path for path in (tmp_path / "blobs").glob("??/*")] == []


# ---------------------------------------------------------------------------------------------------- resumable


def test_an_upload_goes_on_where_it_broke_off(server):
    url = server.start(FILES, size=10)
    first = server.go_on(url, "upload", b"01234", 0)
    assert (first.headers["x-goog-upload-status"], first.headers["x-goog-upload-size-received"]) == ("active", "5")
    asked = server.go_on(url, "query")
    assert asked.status == 200 and asked.headers["x-goog-upload-size-received"] == "5"
    made = server.go_on(url, "upload, finalize", b"56789", 5)
    name = made.json()["file"]["name"]
    assert server.request("GET", f"/v1beta/{name}:download?alt=media").body == b"0123456789"
    assert server.go_on(url, "query").headers["x-goog-upload-status"] == "final"


def test_a_connection_that_breaks_loses_only_what_was_under_way(tmp_path):
    content = bytes(range(256)) * 4 * 3072  # 3 MiB
    with serving(tmp_path, Quotas()) as server:
        url = server.start(FILES, size=len(content))
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.putrequest("POST", url.removeprefix(server.url))
        for name, value in (("content-length", str(len(content))), ("x-goog-upload-command", "upload")):
            connection.putheader(name, value)
        connection.endheaders(content[: 2 * 2**20])
        received = 0
        while not received:
            received = int(server.go_on(url, "query").headers["x-goog-upload-size-received"])
        connection.close()
        made: Any = None
        while made is None or made.status != 200:  # until the server has taken in what was still under way
            received = int(server.go_on(url, "query").headers["x-goog-upload-size-received"])
            made = server.go_on(url, "upload, finalize", content[received:], received)
        name = made.json()["file"]["name"]
        assert server.request("GET", f"/v1beta/{name}:download?alt=media").body == content


def test_an_upload_survives_a_restart_of_the_server(tmp_path):
    with serving(tmp_path) as server:
        url = server.start(FILES, size=4)
        server.go_on(url, "upload", b"ab", 0)
    with serving(tmp_path) as server:
        path = url.partition("/upload")[2]
        made = server.go_on(f"/upload{path}", "upload, finalize", b"cd", 2)
        assert made.json()["file"]["sizeBytes"] == "4"


def test_a_wrong_offset_is_refused_and_the_upload_can_go_on(server):
    url = server.start(FILES, size=4)
    server.go_on(url, "upload", b"ab", 0)
    wrong = server.go_on(url, "upload, finalize", b"cd", 3)
    refused(wrong, 400, "INVALID_ARGUMENT", "2 bytes have come")
    assert wrong.headers["x-goog-upload-status"] == "active"
    assert server.go_on(url, "upload, finalize", b"cd", 2).status == 200


def test_an_end_before_all_has_come_is_refused(server):
    url = server.start(FILES, size=4)
    refused(server.go_on(url, "upload, finalize", b"ab", 0), 400, "INVALID_ARGUMENT", "2 bytes have come, 4 were")
    assert server.go_on(url, "upload, finalize", b"cd", 2).status == 200


def test_more_than_was_announced_ends_the_upload(server):
    url = server.start(FILES, size=4)
    answer = server.go_on(url, "upload", b"abcdef", 0)
    refused(answer, 400, "INVALID_ARGUMENT", "longer than 4 bytes")
    assert answer.headers["x-goog-upload-status"] == "cancelled"
    refused(server.go_on(url, "upload, finalize", b"abcd", 0), 400, "FAILED_PRECONDITION", "cancelled")


def test_the_last_request_may_be_sent_again_and_makes_nothing_twice(server):
    url = server.start(FILES, size=2)
    first, second = (server.go_on(url, "upload, finalize", b"ab", 0) for _ in range(2))
    assert first.json() == second.json() and second.headers["x-goog-upload-status"] == "final"


def test_a_cancelled_upload_is_over(server):
    url = server.start(FILES, size=2)
    assert server.go_on(url, "cancel").headers["x-goog-upload-status"] == "cancelled"
    refused(server.go_on(url, "finalize"), 400, "FAILED_PRECONDITION")


def test_an_empty_file_is_a_file(server):
    url = server.start(FILES, size=0)
    assert server.go_on(url, "upload, finalize", b"", 0).json()["file"]["sizeBytes"] == "0"


@pytest.mark.parametrize("command", ["", "start", "upload, explode", "delete"])
def test_a_command_that_is_none_is_refused(server, command):
    refused(server.go_on(server.start(FILES), command), 400, "INVALID_ARGUMENT", "X-Goog-Upload-Command")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "X-Goog-Upload-Protocol"),
        ({"x-goog-upload-protocol": "carrier pigeon"}, "X-Goog-Upload-Protocol"),
        ({"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "upload"}, "start"),
        ({"x-goog-upload-protocol": "resumable", "x-goog-upload-header-content-length": "-5"}, "number of bytes"),
        ({"x-goog-upload-protocol": "resumable", "x-goog-upload-header-content-length": "9" * 30}, "number of bytes"),
    ],
)
def test_an_upload_that_says_nothing_sensible_is_refused(server, headers, words):
    refused(server.request("POST", FILES, b"{}", headers), 400, "INVALID_ARGUMENT", words)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"file": {"colour": 1}}', b'{"fil": {}}', b"\xff", b"[" * 1000])
def test_what_is_said_about_an_upload_is_read_strictly(server, body):
    headers = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    refused(server.request("POST", FILES, body, headers), 400, "INVALID_ARGUMENT")


def test_a_file_that_is_too_large_is_refused_before_it_comes_and_while_it_comes(server):
    headers = {"x-goog-upload-protocol": "resumable", "x-goog-upload-header-content-length": "40001"}
    refused(server.request("POST", FILES, b"{}", headers), 400, "INVALID_ARGUMENT", "40001", "40000")
    refused(server.raw(FILES, b"x" * 40_001), 400, "INVALID_ARGUMENT", "40000")
    store = server.store()
    refused(
        server.raw(f"/upload/v1beta/{store}:uploadToFileSearchStore", b"x" * 30_001), 400, "INVALID_ARGUMENT", "30000"
    )


def test_a_project_and_a_store_have_a_quota(tmp_path):
    with serving(tmp_path) as server:
        assert [server.raw(FILES, bytes([n]) * 30_000).status for n in range(4)] == [200, 200, 200, 429]
        refused(server.raw(FILES, b"y" * 30_000), 429, "RESOURCE_EXHAUSTED", "100000")
        path = f"/upload/v1beta/{server.store()}:uploadToFileSearchStore"
        assert [server.raw(path, bytes([65 + n]) * 25_000).status for n in range(3)] == [200, 200, 429]


def begin(server: LibraryServer, size: int | None, path: str = FILES) -> Any:
    headers = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    if size is not None:
        headers["x-goog-upload-header-content-length"] = str(size)
    return server.request("POST", path, None, headers)


def test_what_is_announced_counts_before_it_comes(tmp_path):
    with serving(tmp_path) as server:
        urls = [server.start(FILES, size=30_000) for _ in range(3)]
        refused(begin(server, 30_000), 429, "RESOURCE_EXHAUSTED", "100000", "90000 are being uploaded")
        assert server.raw(FILES, b"x" * 10_000).status == 200, "what is left may be used"
        refused(server.raw(FILES, b"x"), 429, "RESOURCE_EXHAUSTED")
        assert server.request("POST", FILES, b"x", {"x-goog-upload-protocol": "raw"}, key=OTHER_KEY).status == 200
        server.go_on(urls[0], "cancel")
        assert server.raw(FILES, b"x" * 20_000).status == 200, "what was cancelled does not count"
        assert server.go_on(urls[1], "upload, finalize", b"y" * 30_000, 0).status == 200, "it was promised"
        path = f"/upload/v1beta/{server.store()}:uploadToFileSearchStore"
        assert [begin(server, 25_000, path).status for _ in range(3)] == [200, 200, 429]


def test_what_was_not_announced_counts_as_it_comes_also_after_a_restart(tmp_path):
    with serving(tmp_path) as server:
        assert [server.raw(FILES, b"x" * 40_000).status for _ in range(2)] == [200, 200]
        url = server.start(FILES)
        assert server.go_on(url, "upload", b"y" * 15_000, 0).status == 200
        refused(begin(server, 5_001), 429, "RESOURCE_EXHAUSTED", "15000 are being uploaded")
    with serving(tmp_path) as server:
        refused(begin(server, 5_001), 429, "RESOURCE_EXHAUSTED", "15000 are being uploaded")
        other = server.start(FILES, size=5_000)
        url = f"/upload{url.partition('/upload')[2]}"
        refused(server.go_on(url, "upload, finalize", b"y", 15_000), 429, "RESOURCE_EXHAUSTED")
        assert server.go_on(other, "upload, finalize", b"z" * 5_000, 0).status == 200


def test_uploads_that_are_begun_and_never_ended_are_not_endless(tmp_path):
    with serving(tmp_path, Quotas(uploads=3)) as server:
        urls = [server.start(FILES) for _ in range(3)]
        refused(begin(server, None), 429, "RESOURCE_EXHAUSTED", "3 uploads")
        server.go_on(urls[0], "upload, finalize", b"x", 0)
        assert begin(server, None).status == 200


def test_a_cancel_stops_what_is_being_sent(tmp_path):
    with serving(tmp_path, Quotas()) as server:
        url = server.start(FILES, size=3 * 2**20)
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.putrequest("POST", url.removeprefix(server.url))
        headers = {"content-length": str(3 * 2**20), "x-goog-upload-command": "upload, finalize"}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(b"x" * (2 * 2**20))
        while not int(server.go_on(url, "query").headers["x-goog-upload-size-received"]):
            pass
        assert server.go_on(url, "cancel").headers["x-goog-upload-status"] == "cancelled"
        stopped = connection.getresponse()
        assert stopped.status == 400 and b"cancelled" in stopped.read()
        assert stopped.headers["x-goog-upload-status"] == "cancelled"
        connection.close()
        assert list((tmp_path / "uploads").iterdir()) == []
        refused(server.go_on(url, "upload, finalize", b"x", 0), 400, "FAILED_PRECONDITION", "cancelled")


def test_what_has_ended_is_not_cancelled_any_more(server):
    url = server.start(FILES, size=2)
    name = server.go_on(url, "upload, finalize", b"ab", 0).json()["file"]["name"]
    assert server.go_on(url, "cancel").headers["x-goog-upload-status"] == "final"
    assert server.request("GET", f"/v1beta/{name}").status == 200


# ---------------------------------------------------------------------------------------------------- downloads


CONTENT = bytes(range(256)) * 20  # 5120 bytes


@pytest.fixture(scope="module")
def kept(server: LibraryServer) -> Any:
    return server.raw(FILES, CONTENT, "image/png").json()["file"]


def got(server: LibraryServer, kept: Any, method: str = "GET", **headers: str) -> Any:
    return server.request(method, kept["downloadUri"], None, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=5000-", slice(5000, 5120)),
        ("bytes=-20", slice(5100, 5120)),
        ("bytes=-99999", slice(0, 5120)),
        ("bytes=5000-99999", slice(5000, 5120)),
        ("Bytes = 1 - 2", slice(1, 3)),
    ],
)
def test_a_range_is_served_alone(server, kept, asked, part):
    answer = got(server, kept, range=asked)
    assert answer.status == 206 and answer.body == CONTENT[part]
    assert answer.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/5120"
    assert answer.headers["content-length"] == str(part.stop - part.start)
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize("asked", ["bytes=5120-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused_with_the_size(server, kept, asked):
    answer = got(server, kept, range=asked)
    assert answer.status == 416 and answer.headers["content-range"] == "bytes */5120" and answer.body == b""


@pytest.mark.parametrize("asked", ["bytes=9-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-", "bytes", ""])
def test_what_is_no_single_range_gets_all_of_it(server, kept, asked):
    answer = got(server, kept, range=asked)
    assert (answer.status, answer.body) == (200, CONTENT) and answer.headers["accept-ranges"] == "bytes"


def test_a_download_goes_on_only_with_the_same_bytes(server, kept):
    tag = got(server, kept).headers["etag"]
    assert tag == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    same = got(server, kept, range="bytes=10-", if_range=tag)
    assert (same.status, same.body) == (206, CONTENT[10:])
    other = got(server, kept, range="bytes=10-", if_range='"another"')
    assert (other.status, other.body) == (200, CONTENT)
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = got(server, kept, if_none_match=known)
        assert answer.status == 304 and answer.body == b""
    assert got(server, kept, if_none_match='"x"').status == 200


def test_the_head_of_a_download_is_told_alone(server, kept):
    answer = got(server, kept, "HEAD")
    assert answer.status == 200 and answer.headers["content-length"] == "5120" and answer.body == b""


def test_an_empty_file_has_no_range(server):
    kept = server.raw(FILES, b"").json()["file"]
    assert got(server, kept).body == b"" and got(server, kept, range="bytes=0-").status == 416


def test_a_document_is_downloaded_the_same_way(server):
    store = server.store()
    path = f"/upload/v1beta/{store}:uploadToFileSearchStore"
    name = server.done(server.raw(path, b"Cats purr.").json())["response"]["documentName"]
    answer = server.request("GET", f"/v1beta/{name}:download?alt=media", None, {"range": "bytes=5-8"})
    assert (answer.status, answer.body) == (206, b"purr")


# ---------------------------------------------------------------------------------------------------- multipart


def multipart(*parts: bytes, end: bytes = b"\r\n--frontier--\r\n") -> bytes:
    return b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts).removesuffix(b"\r\n") + end


def send(
    server: LibraryServer, body: bytes, kind: str = "multipart/related; boundary=frontier", path: str = FILES
) -> Any:
    return server.request("POST", path, body, {"x-goog-upload-protocol": "multipart", "content-type": kind})


JSON = b'Content-Type: application/json\r\n\r\n{"file": {"displayName": "M"}}'


def test_a_multipart_upload_is_json_and_bytes(server):
    content = b"\r\n--fronti\r\n\x00 bytes that look like a boundary \r\n--" * 40
    made = send(server, multipart(JSON, b"Content-Type: image/png\r\n\r\n" + content)).json()["file"]
    assert (made["displayName"], made["mimeType"], made["sizeBytes"]) == ("M", "image/png", str(len(content)))
    assert server.request("GET", f"/v1beta/{made['name']}:download?alt=media").body == content


def test_a_form_is_a_multipart_upload_too(server):
    metadata = b'Content-Disposition: form-data; name="metadata"\r\n\r\n{}'
    content = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhi'
    made = send(server, multipart(metadata, content), 'multipart/form-data; boundary="frontier"')
    assert made.json()["file"]["mimeType"] == "text/plain"
    upload_type = server.request(
        "POST",
        f"{FILES}?uploadType=multipart",
        multipart(metadata, content),
        {"content-type": "multipart/related; boundary=frontier"},
    )
    assert upload_type.status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/related; boundary=frontier"),
        (b"no boundary at all", "multipart/related; boundary=frontier"),
        (b"x" * 20_000, "multipart/related; boundary=frontier"),
        (multipart(JSON), "multipart/related; boundary=frontier"),
        (multipart(JSON, b"Content-Type: a/b\r\n\r\nx", end=b""), "multipart/related; boundary=frontier"),
        (multipart(JSON, b"a header that is none\r\n\r\nx"), "multipart/related; boundary=frontier"),
        (multipart(b"Content-Type: application/json\r\n\r\n{", b"\r\nx"), "multipart/related; boundary=frontier"),
        (multipart(JSON, b"\r\nx"), "multipart/related"),
        (multipart(JSON, b"\r\nx"), "text/plain"),
        (multipart(JSON, b"\r\nx"), "multipart/related; boundary=" + "x" * 71),
    ],
)
def test_a_malformed_multipart_upload_is_refused_and_leaves_nothing(tmp_path, body, kind):
    with serving(tmp_path) as server:
        refused(send(server, body, kind), 400, "INVALID_ARGUMENT")
        assert server.request("GET", "/v1beta/files").json() == {}
        assert [path for path in tmp_path.rglob("*") if path.parent.name == "uploads"] == []


# ---------------------------------------------------------------------------------------------------- stores


def upload(server: LibraryServer, store: str, content: bytes, kind: str = "text/plain", **about: Any) -> Any:
    """A document in a store; its operation when it is done."""
    url = server.start(f"/upload/v1beta/{store}:uploadToFileSearchStore", about, len(content), kind)
    made = server.go_on(url, "upload, finalize", content, 0)
    assert made.status == 200, made.body
    return server.done(made.json())


def test_a_store_is_made_described_listed_and_deleted(tmp_path):
    with serving(tmp_path) as server:
        assert server.request("GET", "/v1beta/fileSearchStores").json() == {}
        store = server.store(displayName="My Böoks!")
        assert store.startswith("fileSearchStores/my-b-oks-")
        got = server.request("GET", f"/v1beta/{store}").json()
        assert got["displayName"] == "My Böoks!" and got["embeddingModel"] == "models/none"
        assert [
            found["name"] for found in server.request("GET", "/v1beta/fileSearchStores").json()["fileSearchStores"]
        ] == [store]
        refused(server.request("GET", f"/v1beta/{store}", key=OTHER_KEY), 404, "NOT_FOUND")
        assert server.request("GET", "/v1beta/fileSearchStores", key=OTHER_KEY).json() == {}
        assert server.request("DELETE", f"/v1beta/{store}").json() == {}
        refused(server.request("GET", f"/v1beta/{store}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "fields", [{"displayName": "x" * 513}, {"colour": "red"}, {"displayName": 5}, {"embeddingModel": "models/other"}]
)
def test_a_store_that_cannot_be_is_refused(server, fields):
    refused(server.request("POST", "/v1beta/fileSearchStores", fields), 400, "INVALID_ARGUMENT")


def test_the_services_embedding_models_stand_for_this_servers(server):
    made = server.request("POST", "/v1beta/fileSearchStores", {"embedding_model": "models/gemini-embedding-001"}).json()
    assert made["embeddingModel"] == "models/none"


def test_an_uploaded_document_can_be_searched_when_its_operation_is_done(server):
    store = server.store()
    about = {
        "displayName": "On cats",
        "customMetadata": [
            {"key": "year", "numericValue": 2020},
            {"key": "author", "string_value": "Ann"},
            {"key": "tags", "stringListValue": {"values": ["a", "b"]}},
        ],
        "chunkingConfig": {"whiteSpaceConfig": {"maxTokensPerChunk": 50, "maxOverlapTokens": 5}},
    }
    operation = upload(server, store, b"Cats purr.\fThey sleep.", "text/plain", **about)
    name = operation["response"]["documentName"]
    assert operation["name"].startswith(f"{store}/upload/operations/") and name.startswith(
        f"{store}/documents/on-cats-"
    )
    document = server.request("GET", f"/v1beta/{name}").json()
    assert (
        document["state"] == "STATE_ACTIVE" and document["displayName"] == "On cats" and document["sizeBytes"] == "22"
    )
    assert document["customMetadata"] == [
        {"key": "year", "numericValue": 2020.0},
        {"key": "author", "stringValue": "Ann"},
        {"key": "tags", "stringListValue": {"values": ["a", "b"]}},
    ]
    assert server.request("GET", f"/v1beta/{name}:download?alt=media").body == b"Cats purr.\fThey sleep."
    counted = server.request("GET", f"/v1beta/{store}").json()
    assert counted["activeDocumentsCount"] == "1" and counted["sizeBytes"] == "22"
    refused(server.request("DELETE", f"/v1beta/{name}"), 400, "FAILED_PRECONDITION", "Cannot delete non-empty Document")
    refused(server.request("DELETE", f"/v1beta/{store}"), 400, "FAILED_PRECONDITION", "Cannot delete non-empty")
    assert server.request("DELETE", f"/v1beta/{name}?force=True").json() == {}
    gone = server.request("GET", f"/v1beta/{operation['name']}").json()
    assert gone["done"] and gone["error"]["message"] == "The document was deleted."
    assert server.request("DELETE", f"/v1beta/{store}").json() == {}


def test_a_file_is_imported_and_the_document_stays_when_the_file_goes(server):
    store, file = server.store(), server.raw(FILES, b"Cats purr.").json()["file"]["name"]
    body = {"fileName": file, "customMetadata": [{"key": "k", "stringValue": "v"}]}
    operation = server.done(server.request("POST", f"/v1beta/{store}:importFile", body).json())
    assert operation["name"].startswith(f"{store}/operations/") and "error" not in operation
    server.request("DELETE", f"/v1beta/{file}")
    name = operation["response"]["documentName"]
    assert server.request("GET", f"/v1beta/{name}:download?alt=media").body == b"Cats purr."
    refused(server.request("POST", f"/v1beta/{store}:importFile", {"fileName": file}), 404, "NOT_FOUND", file)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "fileName"),
        ({"fileName": "cats.txt"}, "files/ID"),
        ({"fileName": "files/x", "customMetadata": [{"key": "k"}]}, "exactly one"),
        (
            {"fileName": "files/x", "customMetadata": [{"key": "k", "stringValue": "", "numericValue": 1}]},
            "exactly one",
        ),
        ({"fileName": "files/x", "customMetadata": [{"key": "k", "stringValue": "a"}] * 2}, "twice"),
        ({"fileName": "files/x", "customMetadata": [{"key": str(n), "stringValue": "a"} for n in range(21)]}, "20"),
        ({"fileName": "files/x", "chunkingConfig": {"whiteSpaceConfig": {"maxTokensPerChunk": 513}}}, "512"),
        (
            {
                "fileName": "files/x",
                "chunkingConfig": {"whiteSpaceConfig": {"maxTokensPerChunk": 9, "maxOverlapTokens": 9}},
            },
            "must be less than",
        ),
    ],
)
def test_an_import_that_cannot_be_is_refused(server, body, words):
    refused(server.request("POST", f"/v1beta/{server.store()}:importFile", body), 400, "INVALID_ARGUMENT", words)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"PK bomb", "application/zip", "unpacks to more than"),
        (b"  \n ", "text/plain", "no text"),
        (b"", "text/plain", "no text"),
        (b"a fault", "text/plain", "Internal error"),
        (b"endless", "text/plain", "took too long"),
    ],
)
def test_a_document_that_cannot_be_read_fails_and_says_why(server, content, kind, words):
    store = server.store()
    operation = upload(server, store, content, kind)
    assert operation["done"] and words in operation["error"]["message"] and "response" not in operation
    (document,) = server.request("GET", f"/v1beta/{store}/documents").json()["documents"]
    assert document["state"] == "STATE_FAILED" and words in document["error"]["message"]
    assert server.request("GET", f"/v1beta/{store}").json()["failedDocumentsCount"] == "1"
    assert upload(server, store, b"Cats purr.")["done"], "the next one is indexed all the same"


def test_a_store_that_is_not_there_takes_nothing(server):
    for method, path in (
        ("POST", "/upload/v1beta/fileSearchStores/none:uploadToFileSearchStore"),
        ("GET", "/v1beta/fileSearchStores/none/documents"),
        ("GET", "/v1beta/fileSearchStores/none/operations/x"),
        ("GET", "/v1beta/fileSearchStores/none/documents/x"),
        ("DELETE", "/v1beta/fileSearchStores/none?force=true"),
    ):
        refused(server.request(method, path, b"", {"x-goog-upload-protocol": "raw"}), 404, "NOT_FOUND")


def test_documents_of_another_project_are_not_there(server):
    store = server.store()
    name = upload(server, store, b"Cats purr.")["response"]["documentName"]
    for method, path in (("GET", name), ("DELETE", f"{name}?force=true"), ("GET", f"{store}/documents")):
        refused(server.request(method, f"/v1beta/{path}", key=OTHER_KEY), 404, "NOT_FOUND")
    headers = {"x-goog-upload-protocol": "raw"}
    path = f"/upload/v1beta/{store}:uploadToFileSearchStore"
    refused(server.request("POST", path, b"x", headers, key=OTHER_KEY), 404, "NOT_FOUND")


def test_documents_are_listed_oldest_first_a_page_at_a_time(server):
    store = server.store()
    names = [upload(server, store, b"Cats.", displayName=f"d{n}")["response"]["documentName"] for n in range(3)]
    first = server.request("GET", f"/v1beta/{store}/documents?pageSize=2").json()
    second = server.request("GET", f"/v1beta/{store}/documents?pageSize=2&pageToken={first['nextPageToken']}").json()
    assert [found["name"] for page in (first, second) for found in page["documents"]] == names


def test_indexing_goes_on_after_a_restart(tmp_path: Path):
    with serving(tmp_path) as server:
        store = server.store()
        endless = server.raw(f"/upload/v1beta/{store}:uploadToFileSearchStore", b"endless").json()
        waiting = server.raw(f"/upload/v1beta/{store}:uploadToFileSearchStore", b"Cats purr.").json()
        assert "done" not in server.request("GET", f"/v1beta/{waiting['name']}").json()
    with serving(tmp_path) as server:
        assert "took too long" in server.done(endless)["error"]["message"]
        assert "error" not in server.done(waiting)


def test_a_browser_may_upload(server):
    asked = {
        "origin": "https://example.org",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-goog-upload-command, x-goog-upload-protocol",
    }
    answer = server.request("OPTIONS", FILES, headers=asked)
    assert {"x-goog-upload-command", "x-goog-upload-offset"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    listed = server.request("GET", "/v1beta/files", headers={"origin": "https://example.org"})
    assert "x-goog-upload-url" in listed.headers["access-control-expose-headers"]


def test_a_disk_that_takes_nothing_is_unavailable_and_no_crash(tmp_path):
    with serving(tmp_path) as server:
        (tmp_path / "uploads").write_text("in the way")
        refused(server.raw(FILES, b"x"), 503, "UNAVAILABLE", "disk")
        assert server.request("GET", "/v1beta/files").json() == {}


# ---------------------------------------------------------------------------------------------------- what went wrong once


@pytest.mark.parametrize("kind", ["text/plain\r\nX-Injected: yes", "\u0000", "text/€"])
def test_a_media_type_that_could_not_stand_in_a_header_is_refused(server, kind):
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    answer = server.request("POST", FILES, {"file": {"mimeType": kind}}, start)
    refused(answer, 400, "INVALID_ARGUMENT", "mimeType")


@pytest.mark.parametrize("name", ["idna''a%FFb", "undefined''x", "punycode''%FF%FF", "utf-7''+2AA-", "a%00''x"])
def test_a_file_name_in_any_codec_of_pythons_is_no_fault_of_the_servers(server, name):
    body = (
        b"--B\r\nContent-Type: application/json\r\n\r\n{}\r\n--B\r\nContent-Type: text/plain\r\n"
        b"Content-Disposition: form-data; filename*=" + name.encode() + b"\r\n\r\nhello\r\n--B--\r\n"
    )
    headers = {"X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=B"}
    assert server.request("POST", FILES, body, headers).status < 500


def test_a_page_token_beyond_all_numbers_is_refused(server):
    token = base64.urlsafe_b64encode(b"9" * 30).decode()
    for path in ("files", "fileSearchStores"):
        assert server.request("GET", f"/v1beta/{path}?pageToken={token}").status == 400
