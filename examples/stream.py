from google import genai

client = genai.Client()
stream = client.interactions.create(
    model="gemini-3-flash-preview", input="Tell me a joke about programming.", stream=True
)
for event in stream:
    if event.event_type == "step.delta" and event.delta.type == "text":
        print(event.delta.text, end="", flush=True)
    elif event.event_type == "interaction.completed":
        print(f"\n{event.interaction.status}: {event.interaction.usage.total_tokens} tokens")
