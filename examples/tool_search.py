from google import genai

client = genai.Client()
number = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
tools = [
    {"type": "function", "name": "book_table", "description": "Book a table.", "defer_loading": True},
    {"type": "function", "name": "order_taxi", "description": "Order a taxi.", "defer_loading": True},
    {"type": "function", "name": "square", "parameters": number, "defer_loading": True},
    {"type": "tool_search"},
]
interaction = client.interactions.create(model="gemini-3-flash-preview", input="Please order a taxi.", tools=tools)
for step in interaction.steps:
    print(step.type)
