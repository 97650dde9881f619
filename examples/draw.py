import base64
from pathlib import Path

from google import genai

client = genai.Client()
interaction = client.interactions.create(
    model="gemini-3.1-flash-image",
    input="Draw a sun over the sea.",
    response_format=[{"type": "text"}, {"type": "image", "aspect_ratio": "16:9", "image_size": "1K"}],
)
print(interaction.output_text)
for content in interaction.steps[-1].content:
    if content.type == "image":
        Path("sun.jpg").write_bytes(base64.b64decode(content.data))
        print("sun.jpg", content.mime_type)
