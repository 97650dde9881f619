from google import genai

client = genai.Client()
stream = client.interactions.create(
    agent="deep-research-preview-04-2026",
    input="What is an antiphon, and who sings it?",
    background=True,
    stream=True,
    agent_config={"type": "deep-research", "thinking_summaries": "auto"},
)
for event in stream:
    if event.event_type == "step.delta" and event.delta.type == "thought_summary":
        print(event.delta.content.text, end="")  # what it is doing
    elif event.event_type == "step.delta" and event.delta.type == "text":
        print(event.delta.text, end="")  # the report
