from google import genai

client = genai.Client()
run = client.interactions.create(model="gemini-3-flash-preview", input="Tell me a long story.", background=True)

for event in client.interactions.get(run.id, stream=True):
    if event.event_type == "step.delta":
        break  # it has begun to speak

ended = client.interactions.cancel(run.id)
print(ended.status, repr(ended.steps[-1].content[0].text))
client.interactions.delete(run.id)
