from google import genai

client = genai.Client()
stream = client.interactions.create(
    model="gemini-3-flash-preview", input="Tell me a joke about programming.", background=True, stream=True
)
for event in stream:
    if event.event_type == "interaction.created":
        id = event.interaction.id
    elif event.event_type == "step.delta":
        seen, last = event.delta.text, event.event_id
        break
stream.close()  # the connection is gone; the run is not

for event in client.interactions.get(id, stream=True, last_event_id=last):
    if event.event_type == "step.delta":
        seen += event.delta.text
print(seen)
