from google import genai

client = genai.Client()
interaction = client.interactions.create(
    model="gemini-3-flash-preview",
    input="How many apples are 3 and 4?",
    generation_config={"thinking_level": "low", "thinking_summaries": "auto"},
)
thought = interaction.steps[0]
print(f"{thought.summary[0].text} -> {interaction.output_text}")
print(interaction.usage.total_thought_tokens, "tokens of thought")
