from google import genai

client = genai.Client()
model = "gemini-3-flash-preview"

question = {"type": "user_input", "content": [{"type": "text", "text": "How many apples are 3 and 4?"}]}
first = client.interactions.create(model=model, input=[question], store=False)
print([step.type for step in first.steps])

steps = [step.model_dump(exclude_none=True) for step in first.steps]  # thoughts and their signatures, unchanged
again = {"type": "user_input", "content": [{"type": "text", "text": "Tell me a joke about programming."}]}
second = client.interactions.create(model=model, input=[question, *steps, again], store=False)
print(second.output_text)
