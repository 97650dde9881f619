from google import genai

client = genai.Client()
decision = client.decisions.create(
    model="gemini-3-flash-preview",
    input="Hello! My oven has been cold since Tuesday, and nobody answers the telephone. This is the third time I write.",
    questions={
        "urgent": {"type": "noul", "instructions": "Does the writer need help today?"},
        "about": {
            "type": "choice",
            "instructions": "What is the message about?",
            "criteria": {"repair": "something is broken", "invoice": "money", "praise": "the writer is happy"},
        },
        "anger": {
            "type": "score",
            "instructions": "How angry is the writer?",
            "criteria": ["calm", "impatient", "angry", "furious"],
        },
    },
)
for name, answer in decision.answers.items():
    # What was found stands in `noul`, `choice` or `score`: in the field that is named like the question's type.
    print(name, getattr(answer, answer.type), answer.confidence)
print(decision.usage.total_input_tokens, "tokens, and of them read before:", decision.usage.total_cached_tokens)
