import time

from google import genai

client = genai.Client()
run = client.interactions.create(model="gemini-3-flash-preview", input="Write the slow report.", background=True)
while run.status == "in_progress":
    time.sleep(0.5)
    run = client.interactions.get(run.id)
print(run.status, run.output_text)
