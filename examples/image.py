import base64
from pathlib import Path

from google import genai

client = genai.Client()
interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[
        {"type": "text", "text": "Where does the train leave?"},
        {
            "type": "image",
            "data": base64.b64encode(Path("sign.png").read_bytes()).decode(),
            "mime_type": "image/png",
            "resolution": "high",
        },
    ],
)
print(interaction.output_text, "|", [step.type for step in interaction.steps])
