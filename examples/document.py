import base64
from pathlib import Path

from google import genai

client = genai.Client()
question = {"type": "text", "text": "What is the total?"}

# A short document travels with the request. Of this one, only the second page is looked at.
inline = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[
        question,
        {
            "type": "document",
            "data": base64.b64encode(Path("report.pdf").read_bytes()).decode(),
            "mime_type": "application/pdf",
            "processing": {"type": "static", "page_options": {"start_page": 2, "end_page": 2}},
        },
    ],
)
print(inline.output_text, "|", [step.type for step in inline.steps])

# A long one is uploaded once, and asked about as often as you like.
file = client.files.upload(file="report.pdf")
uploaded = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[question, {"type": "document", "uri": file.uri, "mime_type": "application/pdf"}],
)
print(uploaded.output_text)
