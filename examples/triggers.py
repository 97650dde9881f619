import time

from google import genai

client = genai.Client()
# The client's types know agents only; of a model, `extra_body` goes out in their place.
interaction = {"model": "gemini-3-flash-preview", "input": "Write the slow report."}
trigger = client.triggers.create(
    schedule="0 9 * * 1-5",
    time_zone="Europe/Paris",
    display_name="report",
    interaction={"agent": "none"},
    extra_body={"interaction": interaction},
)
print(trigger.status, trigger.next_run_time)

execution = client.triggers.run(trigger.id)  # now, and at nine as well
while execution.status == "in_progress":
    time.sleep(0.5)
    execution = client.triggers.list_executions(trigger.id).trigger_executions[0]
print(execution.status, client.interactions.get(execution.interaction_id).output_text)

print(client.triggers.update(trigger.id, status="paused").status)
client.triggers.delete(trigger.id)
