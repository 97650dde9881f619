import time

from google import genai

client = genai.Client()


def ask(words, planning, after=None):
    run = client.interactions.create(
        agent="deep-research-preview-04-2026",
        input=words,
        background=True,
        previous_interaction_id=after,
        agent_config={"type": "deep-research", "collaborative_planning": planning},
    )
    while run.status == "in_progress":
        time.sleep(0.5)
        run = client.interactions.get(run.id)
    return run


plan = ask("What is an antiphon, and who sings it?", planning=True)
print(plan.output_text)
plan = ask("Add its history.", planning=True, after=plan.id)  # as often as you like
report = ask("Plan looks good!", planning=False, after=plan.id)
print(report.output_text)
