from google import genai

client = genai.Client()
made = client.interactions.create(model="gemini-3-flash-preview", input="Hi, my name is Phil.")
read = client.interactions.get(made.id, include_input=True)

print("POST:", [step.type for step in made.steps])
print("GET:", [step.type for step in read.steps])
print("input:", [step.type for step in read.input])
