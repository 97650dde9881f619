"""A test of your own program, with Antiphon as the model: no network, no key, the same answer each time."""

import re
import subprocess
import sys

import pytest
from google import genai

SCRIPT = """
[[turns]]
when = "weather"
calls = [{ name = "get_weather", arguments = { city = "Paris" } }]
[[turns]]
after = "get_weather"
text = "Mild."
"""


@pytest.fixture
def client(tmp_path):
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "antiphon", "serve", "--port", "0", "--memory", "--model", f"scripted:{script}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own command
        url = re.search(r"http://\S+", server.stdout.readline())[0]  # printed once it is ready
        yield genai.Client(api_key="any", http_options={"base_url": url})
        server.terminate()


def test_my_program_asks_for_the_weather(client):
    asked = client.interactions.create(
        model="gemini-3-flash-preview",
        input="How is the weather?",
        tools=[{"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}],
    )
    assert asked.status == "requires_action"
    assert asked.steps[-1].arguments == {"city": "Paris"}
