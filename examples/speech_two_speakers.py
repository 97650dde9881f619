import base64
from pathlib import Path

from google import genai

client = genai.Client()
conversation = """TTS the following conversation between Joe and Jane:
Joe: How is it going today, Jane?
Jane: Not too bad. How about you?"""
interaction = client.interactions.create(
    model="gemini-3.1-flash-tts-preview",
    input=conversation,
    response_format={"type": "audio", "mime_type": "audio/wav"},
    generation_config={"speech_config": [{"speaker": "Joe", "voice": "Puck"}, {"speaker": "Jane", "voice": "Kore"}]},
)
Path("conversation.wav").write_bytes(base64.b64decode(interaction.output_audio.data))
print(interaction.output_audio.mime_type)
