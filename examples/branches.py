from google import genai

client = genai.Client()
model = "gemini-3-flash-preview"

root = client.interactions.create(model=model, input="Hi, my name is Phil.")
one = client.interactions.create(model=model, input="What is my name?", previous_interaction_id=root.id)
two = client.interactions.create(
    model=model, input="Tell me a joke about programming.", previous_interaction_id=root.id
)

client.interactions.delete(root.id)  # its children keep the past they were born with
three = client.interactions.create(model=model, input="What is my name?", previous_interaction_id=two.id)
print(one.output_text, three.output_text)
