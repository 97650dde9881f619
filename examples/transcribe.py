import base64
from pathlib import Path

from google import genai

client = genai.Client()
data = base64.b64encode(Path("talk.wav").read_bytes()).decode()
interaction = client.interactions.create(
    model="gemini-3.5-transcribe",
    input=[{"type": "audio", "data": data, "mime_type": "audio/wav"}],
    generation_config={
        "transcription_config": {
            "mode": {"type": "verbatim", "timestamp_granularities": ["word"]},
            "language_codes": ["en-US"],
            "custom_vocabulary": ["Antiphon"],
        }
    },
)
print(interaction.output_text)
for word in interaction.steps[-1].content[0].annotations:
    print(word.start_offset, word.end_offset, word.text)
