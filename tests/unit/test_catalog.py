"""The names a server answers to, said in sentences."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from google.genai import Client, types

from antiphon.catalog import API_NAMES, Catalog, Resolution, Served
from antiphon.wire.errors import InvalidRequest, ModelNotFound

MODELS = {"small": Served("The small one.", context_length=4096, output_limit=512), "big": Served("The big one.")}


def catalog(**aliases: str) -> Catalog:
    return Catalog(MODELS, "small", {name.replace("_", "-"): target for name, target in aliases.items()})


@pytest.mark.parametrize("name", API_NAMES)
def test_every_name_of_the_api_reaches_the_default_model_under_its_own_name(name: str) -> None:
    assert catalog().resolve(name) == Resolution("small", served_as=name)


def test_every_name_the_official_client_lists_is_known() -> None:
    interactions = pytest.importorskip("google.genai._gaos.types.interactions.model")
    listed = interactions.Model.__args__[0].__args__
    assert len(listed) > 30
    assert set(listed) <= set(API_NAMES)


def test_a_configured_name_reaches_itself() -> None:
    assert catalog().resolve("big") == Resolution("big", served_as="big")


@pytest.mark.parametrize(
    "root",
    [
        "models/",
        "publishers/google/models/",
        "projects/p/locations/us-central1/publishers/google/models/",
        "projects/p/models/",
    ],
)
def test_the_collection_in_front_of_a_name_does_not_matter(root: str) -> None:
    assert catalog().resolve(root + "gemini-2.5-pro").served_as == "gemini-2.5-pro"


def test_an_alias_wins_over_the_default_and_keeps_the_name_that_was_asked_for() -> None:
    assert catalog(gemini_4_argon="big").resolve("models/gemini-4-argon") == Resolution("big", "gemini-4-argon")


def test_an_alias_may_be_written_with_its_collection() -> None:
    assert Catalog(MODELS, "small", {"models/mine": "big"}).resolve("mine").target == "big"


@pytest.mark.parametrize(
    "name",
    [
        "gemini-2.0-flash",
        "gemini-2.0-flash-lite-001",
        "gemini-1.5-pro",
        "gemini-1.5-flash-8b",
        "gemini-1.0-pro",
        "gemini-pro",
        "gemini-pro-vision",
    ],
)
def test_a_withdrawn_name_is_served_as_the_successor_and_says_so(name: str) -> None:
    assert catalog().resolve(name) == Resolution("small", "gemini-3-flash-preview", substituted_for=name)


def test_a_withdrawn_name_follows_the_alias_of_its_successor() -> None:
    assert catalog(gemini_3_flash_preview="big").resolve("gemini-1.5-pro").target == "big"


def test_an_operator_can_keep_a_withdrawn_name_alive() -> None:
    assert Catalog(MODELS, "small", {"gemini-2.0-flash": "big"}).resolve("gemini-2.0-flash") == Resolution(
        "big", "gemini-2.0-flash"
    )


@pytest.mark.parametrize("name", ["gemini-5-pro", "gemini-2.5-flash-preview-09-2025", "gemma-5-40b-a3b-it"])
def test_a_newer_name_of_the_families_is_taken(name: str) -> None:
    assert catalog().resolve(name) == Resolution("small", served_as=name)


LONG = "gemini" + "-1" * 100


@pytest.mark.parametrize(
    "name", ["gemini-2.5-flahs", "gpt-5", "gemini", "gemini-", "", "models/", "deep-research-pro", LONG]
)
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFound):
        catalog().resolve(name)


def test_a_refusal_does_not_repeat_a_name_of_any_length() -> None:
    with pytest.raises(ModelNotFound) as refused:
        catalog().resolve(LONG * 1000)
    assert len(refused.value.message) < 500


def test_an_agent_works_with_the_default_model_or_with_what_its_alias_points_at() -> None:
    models = {"small": Served(), "big": Served()}
    plain = Catalog(models, "small", agents=["deep-research-x"])
    assert plain.resolve("deep-research-x").target == "small"
    chosen = Catalog(models, "small", {"deep-research-x": "big"}, agents=["deep-research-x"])
    assert chosen.resolve("deep-research-x").target == "big"
    assert not any("deep-research" in model["name"] for model in chosen.describe()), "an agent is no model"


def test_a_refusal_names_the_nearest_names() -> None:
    with pytest.raises(ModelNotFound, match=r"no model 'gemini-2\.5-flahs'. Did you mean gemini-2\.5-flash "):
        catalog().resolve("models/gemini-2.5-flahs")


def test_a_refusal_with_nothing_near_names_what_is_configured() -> None:
    with pytest.raises(ModelNotFound, match="Configured here: big, small"):
        catalog().resolve("xyzzy")


def test_a_default_that_is_not_configured_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="default model 'huge' is not configured"):
        Catalog(MODELS, "huge")


def test_an_alias_that_points_nowhere_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="alias 'mine' points at 'huge'"):
        Catalog(MODELS, "small", {"mine": "huge"})


def test_a_description_tells_which_model_answers_and_what_it_can_hold() -> None:
    resource = catalog().describe_one("models/gemini-2.5-pro")
    assert resource["name"] == "models/gemini-2.5-pro"
    assert resource["displayName"] == "Gemini 2.5 Pro"
    assert "Answered here by small." in resource["description"]
    assert (resource["inputTokenLimit"], resource["outputTokenLimit"]) == (4096, 512)


def test_without_a_context_length_the_figures_of_the_api_stand_in() -> None:
    assert catalog(gemini_2_5_pro="big").describe_one("big")["inputTokenLimit"] == 131_072
    aliased = Catalog(MODELS, "small", {"gemini-2.5-pro": "big"}).describe_one("gemini-2.5-pro")
    assert (aliased["inputTokenLimit"], aliased["outputTokenLimit"]) == (1_048_576, 65_536)


def test_no_output_is_promised_that_the_context_cannot_hold() -> None:
    tight = Catalog({"tight": Served(context_length=2048)}, "tight")
    assert tight.describe_one("gemini-2.5-pro")["outputTokenLimit"] == 2048


def test_the_list_has_the_operators_names_first_and_no_name_twice() -> None:
    names = [resource["name"] for resource in catalog(mine="big", gemma_3_1b_it="big").describe()]
    assert names[:4] == ["models/small", "models/big", "models/mine", "models/gemma-3-1b-it"]
    assert len(names) == len(set(names)) == len(API_NAMES) + 3


def test_a_withdrawn_name_is_described_and_not_listed() -> None:
    assert catalog().describe_one("gemini-1.5-pro")["name"] == "models/gemini-3-flash-preview"
    assert "models/gemini-1.5-pro" not in [resource["name"] for resource in catalog().describe()]


def test_the_pages_together_are_the_list() -> None:
    whole, token, seen = catalog(), None, []
    for _ in range(100):
        page = whole.page(7, token)
        seen += page["models"]
        if (token := page.get("nextPageToken")) is None:
            break
    assert seen == whole.describe()


def test_a_page_larger_than_the_list_has_no_next_one() -> None:
    assert "nextPageToken" not in catalog().page(5000)


@pytest.mark.parametrize("token", ["x", "%%%", "bW9kZWxzOi0x", "bW9kZWxzOjk5OTk=", "é"])
def test_a_page_token_from_elsewhere_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="pageToken"):
        catalog().page(None, token)


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="pageSize"):
        catalog().page(-1)


def test_the_official_client_walks_the_pages_and_reads_every_field() -> None:
    whole = catalog()

    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            page = whole.page(int(query["pageSize"][0]), query.get("pageToken", [None])[0])
            body = json.dumps(page).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}")
        with Client(api_key="any", http_options=options) as client:
            read = list(client.models.list(config={"page_size": 20}))
        server.shutdown()

    assert [model.name for model in read] == [resource["name"] for resource in whole.describe()]
    first = read[0]
    assert (first.display_name, first.description, first.version) == ("small", "The small one.", "001")
    assert (first.input_token_limit, first.output_token_limit) == (4096, 512)
    assert (first.temperature, first.top_p, first.supported_actions) == (1.0, 0.95, ["createInteraction"])
