from google import genai

client = genai.Client()
for voice in client.voices.list(language_code=["en-US"], page_size=3).voices:
    print(voice.id, voice.language_code, "-", voice.description)
print(client.voices.get("Kore").id)
