import base64
import wave

from google import genai

client = genai.Client()
interaction = client.interactions.create(
    model="gemini-3.1-flash-tts-preview",
    input="Say cheerfully: Have a wonderful day!",
    response_format={"type": "audio"},
    generation_config={"speech_config": [{"voice": "Kore"}]},
)
audio = interaction.output_audio
with wave.open("speech.wav", "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)  # audio/l16: samples of 16 bits, the low byte first
    file.setframerate(audio.sample_rate)
    file.writeframes(base64.b64decode(audio.data))
print(audio.mime_type, audio.sample_rate, interaction.usage.output_tokens_by_modality[0].modality)
