import base64
import zlib

from google import genai

client = genai.Client()
interaction = client.interactions.create(model="gemini-3-flash-preview", input="How many apples are 3 and 4?")
signature = interaction.steps[0].signature  # a version byte, 16 bytes of HMAC, the deflated text
print(zlib.decompress(base64.b64decode(signature)[17:]).decode())
