import base64
import hashlib
from pathlib import Path

from google import genai

client = genai.Client()
path = Path("prices.csv")
path.write_text("fruit,price\napple,1.20\npear,0.95\n")

file = client.files.upload(file=path, config={"display_name": "Prices", "mime_type": "text/csv"})
print(file.name, file.state.name, file.size_bytes, "bytes until", file.expiration_time)
print(base64.b64decode(file.sha256_hash).decode() == hashlib.sha256(path.read_bytes()).hexdigest())

interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input=[
        {"type": "text", "text": "What does a pear cost?"},
        {"type": "document", "uri": file.uri, "mime_type": "text/csv"},
    ],
)
print(interaction.output_text)

print([listed.display_name for listed in client.files.list()])
print(client.files.download(file=file).decode().splitlines()[2])
client.files.delete(name=file.name)
