import json

from google import genai

client = genai.Client()
recipe = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "minutes": {"type": "integer"}},
    "required": ["name", "minutes"],
}
interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input="A recipe for breakfast, please.",
    response_format={"type": "text", "mime_type": "application/json", "schema": recipe},
)
print(json.loads(interaction.output_text)["name"])
