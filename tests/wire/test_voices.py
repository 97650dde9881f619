"""The Voices API over HTTP: who can speak here."""

from __future__ import annotations

import pytest

from serving import Server, ServerFactory


@pytest.fixture(scope="module")
def speaking(session_server: ServerFactory) -> Server:
    return session_server("")


def voices(server: Server, query: str = "") -> list[str]:
    answer = server.request("GET", f"/v1/voices{query}")
    assert answer.status == 200, answer.body
    return [voice["id"] for voice in answer.json().get("voices", ())]


def test_voices_are_listed_page_by_page(speaking):
    everyone = voices(speaking)
    assert everyone[0] == "en_US-joe-medium" and len(everyone) == 31
    found, token = [], ""
    while True:
        page = speaking.request("GET", f"/v1/voices?page_size=10{token}").json()
        found += [voice["id"] for voice in page["voices"]]
        if "next_page_token" not in page:
            break
        token = f"&page_token={page['next_page_token']}"
    assert found == everyone
    assert voices(speaking, "?page_size=5000") == everyone


def test_voices_are_found_by_what_they_are(speaking):
    assert voices(speaking, "?search=KORE") == ["Kore"]
    assert len(voices(speaking, "?language_code=de-DE&language_code=en-us&region_code=US&type=prebuilt")) == 31
    assert voices(speaking, "?language_code=de-DE") == []
    assert voices(speaking, "?gender=female") == []
    assert speaking.request("GET", "/v1/voices?type=prompted").json() == {}


def test_a_voice_is_read_under_its_name_in_any_case(speaking):
    for id in ("Kore", "kore", "voices/Kore"):
        voice = speaking.request("GET", f"/v1/voices/{id}").json()
        assert voice == {
            "type": "prebuilt",
            "id": "Kore",
            "display_name": "Kore",
            "description": "Spoken by en_US-joe-medium, pitch × 1.18, tempo × 1.",
            "language_code": "en-US",
            "region_code": "US",
        }


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/v1/voices/nobody", None, 404, "There is no voice 'nobody'."),
        ("DELETE", "/v1/voices/nobody", None, 404, "There is no voice 'nobody'."),
        ("DELETE", "/v1/voices/Kore", None, 400, "The voice 'Kore' is prebuilt and cannot be deleted."),
        ("POST", "/v1/voices", {"voice": {"type": "prompted"}}, 400, "Voices cannot be made here"),
        ("POST", "/v1/voices", {"name": "x"}, 400, "Unknown parameter 'name'"),
        ("GET", "/v1/voices?colour=red", None, 400, "Unknown parameter 'colour'"),
        ("GET", "/v1/voices?page_size=0", None, 400, "'page_size'"),
        ("GET", "/v1/voices?page_token=x", None, 400, "'page_token'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(speaking, method, path, body, status, words):
    answer = speaking.request(method, path, body)
    assert answer.status == status and words in answer.json()["error"]["message"]


def test_a_token_is_of_one_list(speaking):
    token = speaking.request("GET", "/v1/voices?page_size=2").json()["next_page_token"]
    answer = speaking.request("GET", f"/v1/voices?page_size=2&search=o&page_token={token}")
    assert answer.status == 400 and "other filters" in answer.json()["error"]["message"]


def test_without_speech_there_is_no_voice(session_server):
    silent = session_server("", "--speech", "off")
    assert silent.request("GET", "/v1/voices").json() == {}
