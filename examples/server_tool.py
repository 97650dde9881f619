from google import genai

client = genai.Client()
interaction = client.interactions.create(
    model="gemini-3-flash-preview", input="Please look it up.", tools=[{"type": "google_search"}]
)
for step in interaction.steps:
    print(step.type)
print(interaction.output_text)
