import base64
from pathlib import Path

from google import genai

client = genai.Client()
data = base64.b64encode(Path("clip.mp4").read_bytes()).decode()
interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[
        {"type": "text", "text": "What is said in the video?"},
        {
            "type": "video",
            "data": data,
            "mime_type": "video/mp4",
            "processing": {"type": "static", "end_offset": "10s", "fps": 0.5},
        },
    ],
)
print(interaction.output_text)
