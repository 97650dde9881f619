from google import genai

client = genai.Client()
model = "gemini-3-flash-preview"

first = client.interactions.create(model=model, input="Hi, my name is Phil.")
second = client.interactions.create(model=model, input="What is my name?", previous_interaction_id=first.id)
print(second.output_text)
