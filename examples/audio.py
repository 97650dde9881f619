import base64
from pathlib import Path

from google import genai

client = genai.Client()
question = {"type": "text", "text": "What is said in the recording?"}

# A short recording travels with the request.
data = base64.b64encode(Path("talk.wav").read_bytes()).decode()
interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[question, {"type": "audio", "data": data, "mime_type": "audio/wav"}],
)
print(interaction.output_text, "|", [step.type for step in interaction.steps])

# A long one is uploaded once, and asked about as often as you like: all of it, or a part.
file = client.files.upload(file="talk.wav")
part = {"type": "static", "start_offset": "1s", "end_offset": "2.5s"}
interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[question, {"type": "audio", "uri": file.uri, "mime_type": "audio/wav", "processing": part}],
)
print(interaction.output_text)
