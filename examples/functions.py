from google import genai

client = genai.Client()
model = "gemini-3-flash-preview"
weather = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

asked = client.interactions.create(model=model, input="How is the weather in Paris?", tools=[weather])
call = asked.steps[-1]
print(asked.status, call.name, call.arguments)

result = {"type": "function_result", "call_id": call.id, "name": call.name, "result": {"degrees": 21}}
answered = client.interactions.create(model=model, input=[result], previous_interaction_id=asked.id)
print(answered.status, answered.output_text)
