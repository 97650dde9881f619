from google import genai

client = genai.Client(http_options={"retry_options": {"attempts": 0}})
model = "gemini-3-flash-preview"

for fields in ({"model": model, "input": []}, {"model": "gemini-2.5-flahs", "input": "Hi"}):
    try:
        client.interactions.create(**fields)
    except Exception as error:  # noqa: BLE001 - the client's errors have no public name
        print(error)

for event in client.interactions.create(model=model, input="Please fail.", stream=True):
    if event.event_type == "error":
        print("error event:", event.error.code, event.error.message)
    elif event.event_type == "interaction.completed":
        print(event.interaction.status)
