import base64
from pathlib import Path

from google import genai

client = genai.Client()
picture = {"type": "image", "mime_type": "image/png", "image_size": "512"}
first = client.interactions.create(
    model="gemini-3.1-flash-image", input="Draw a sun over the sea.", response_format=picture
)
second = client.interactions.create(
    model="gemini-3.1-flash-image",
    input="Make the sun red.",
    previous_interaction_id=first.id,
    response_format=picture,
)
for name, interaction in (("yellow.png", first), ("red.png", second)):
    Path(name).write_bytes(base64.b64decode(interaction.output_image.data))
    print(name, interaction.output_image.mime_type)
