from google import genai

client = genai.Client()
question = "Tell me a short joke about programming."
interaction = client.interactions.create(model="gemini-3-flash-preview", input=question)
print(interaction.output_text)
