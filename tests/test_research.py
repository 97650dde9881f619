"""Deep Research as its users have it: through the official client, over an index of their own, with the server killed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from google import genai

from antiphon.index.collection import Index
from antiphon.ports import Leaf
from serving import Server, ServerFactory

AGENT = "deep-research-preview-04-2026"
PAGES = {
    "ostra": "The tower of Ostra was built in 1832 by Anna Lindqvist. It is 41 metres high.",
    "vara": "The tower of Vara was built in 1790. It is 38 metres high, and stands by the sea.",
}
SAYS: list[tuple[str, dict[str, Any]]] = [
    (
        "Split the research question",
        {
            "title": "Two towers",
            "parts": [
                {"question": "How high is the tower of Ostra?", "queries": ["tower Ostra high"]},
                {"question": "How high is the tower of Vara?", "queries": ["tower Vara high"]},
            ],
        },
    ),
    (
        "Write down what the sources say .*Ostra",
        {"notes": [{"source": n, "fact": "The tower of Ostra is 41 metres high."} for n in (1, 2)]},
    ),
    (
        "Write down what the sources say .*Vara",
        {"notes": [{"source": n, "fact": "The tower of Vara is 38 metres high."} for n in (1, 2)]},
    ),
    ("something still missing", {"missing": []}),
    ("Must something be calculated", {"calculations": [{"about": "difference", "expression": "41 - 38"}]}),
    (
        "Answer the research question directly",
        {
            "sentences": [
                {"text": "The tower of Ostra is 3 metres higher than the tower of Vara.", "sources": [1, 2]},
                {"text": "The tower of Ostra was built by elves.", "sources": [1]},
            ],
            "closing": "",
        },
    ),
    (
        "Write the section",
        {
            "sentences": [
                {"form": "item", "text": "The tower of Ostra is 41 metres high.", "sources": [1]},
                {"form": "item", "text": "The tower of Vara is 38 metres high.", "sources": [2]},
            ]
        },
    ),
    ("Does the source state", {"supported": "no"}),
]
SCRIPT = "delay = 0.05\n" + "\n".join(
    f"[[turns]]\nwhen = {json.dumps(when)}\ntext = {json.dumps(json.dumps(says))}" for when, says in SAYS
)
QUESTION = "How much higher is the tower of Ostra than that of Vara?"


@pytest.fixture
def researcher(server: ServerFactory, tmp_path: Path) -> Server:
    """A server with an index of two pages, and nothing else to look things up in."""

    async def fill() -> None:
        index = Index(tmp_path / "search.db")
        for name, text in PAGES.items():
            await index.add(name, title=f"About {name}", url=f"file:towers/{name}.md", leaves=[Leaf(text)])
        await index.aclose()

    asyncio.run(fill())
    return server(SCRIPT, f"--tool=google_search=local:{tmp_path / 'search.db'}")


def report_of(interaction: Any) -> str:
    texts = [
        part["text"] for step in interaction["steps"] if step["type"] == "model_output" for part in step["content"]
    ]
    return "".join(texts)


def ended(of: Server, id: str) -> Any:
    """An interaction once its stream has come to its end."""
    *_, last = of.events("GET", f"/v1beta/interactions/{id}?stream=true")
    assert last["event_type"] == "interaction.completed", last
    return of.get(id)


REPORT = """# Two towers

The tower of Ostra is 3 metres higher than the tower of Vara. [1][2] 41 - 38 = 3. [1][2]

- The tower of Ostra is 41 metres high. [1]
- The tower of Vara is 38 metres high. [2]

**Sources**

1. About ostra (file:towers/ostra.md)
2. About vara (file:towers/vara.md)
"""


def test_the_official_client_streams_what_is_done_and_then_the_report(researcher: Server) -> None:
    client = genai.Client(api_key="any", http_options={"base_url": researcher.url})
    stream = client.interactions.create(
        agent=AGENT,
        input=QUESTION,
        background=True,
        stream=True,
        agent_config={"type": "deep-research", "thinking_summaries": "auto"},
    )
    thoughts, texts, kinds, places = [], [], [], []
    for event in stream:
        kinds.append(event.event_type)
        delta = getattr(event, "delta", None)
        if delta is not None and delta.type == "thought_summary":
            thoughts.append(delta.content.text)
        elif delta is not None and delta.type == "text":
            texts.append(delta.text)
        elif delta is not None and delta.type == "text_annotation_delta":
            written = texts[-1].encode()
            places += [(written[note.start_index : note.end_index].decode(), note.url) for note in delta.annotations]
    assert thoughts[0].startswith("***Generating research plan***\n\n1. How high is the tower of Ostra?")
    assert "".join(texts) == REPORT
    assert kinds[0] == "interaction.created" and kinds[-1] == "interaction.completed"
    assert ("The tower of Vara is 38 metres high.", "file:towers/vara.md") in places
    assert {url for _, url in places} == {f"file:towers/{name}.md" for name in PAGES}


def test_a_server_killed_in_the_middle_of_research_goes_on_with_it(researcher: Server) -> None:
    config = {"type": "deep-research", "thinking_summaries": "auto"}
    body = {"agent": AGENT, "input": QUESTION, "background": True, "stream": True, "agent_config": config}
    id = ""
    for event in researcher.events("POST", "/v1beta/interactions", body):
        id = id or event["interaction"]["id"]
        if "Taking notes" in str(event.get("delta")):
            break
    researcher.kill()
    researcher.restart()
    done = ended(researcher, id)
    assert done["status"] == "completed" and report_of(done) == REPORT
    told = str([step.get("summary") for step in done["steps"] if step["type"] == "thought"])
    assert told.count("Generating research plan") == 1 and told.count("Outlining") == 0


def test_a_model_answers_what_is_asked_about_the_report(researcher: Server) -> None:
    asked = researcher.request(
        "POST", "/v1beta/interactions", {"agent": AGENT, "input": QUESTION, "background": True}
    ).json()
    assert asked["status"] == "in_progress" and asked["agent"] == AGENT
    done = ended(researcher, asked["id"])
    assert done["usage"]["total_tokens"] > 0
    body = {"model": "scripted", "input": "Thank you.", "previous_interaction_id": done["id"]}
    answer = researcher.request("POST", "/v1beta/interactions", body).json()
    assert answer["status"] == "completed" and report_of(answer) == "You said: Thank you."


def test_refusals_come_as_the_services(researcher: Server) -> None:
    body = {"agent": AGENT, "input": QUESTION, "background": True, "system_instruction": "Be short."}
    refused = researcher.request("POST", "/v1beta/interactions", body)
    assert refused.status == 400 and refused.error["code"] == "invalid_request"
    assert "Please include any specific instructions in the input prompt instead" in refused.error["message"]
