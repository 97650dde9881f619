import time
import warnings

from google import genai

warnings.filterwarnings("ignore", message="Triggers usage is experimental")
client = genai.Client()
# This client's types know agents only; what stands in `extra_body` goes out in their place.
model = {"interaction": {"model": "scripted", "input": "Tell me a joke about programming."}}
told = {"interaction": {"agent": "none"}, "schedule": "0 9 * * 1-5", "time_zone": "Europe/Paris"}


def refused(**changed):
    try:
        client.triggers.create(**({**told, "extra_body": model} | changed))
    except Exception as error:  # noqa: BLE001 - the client's errors have no public name
        print(error.status_code, error.body["error"]["message"])


trigger = client.triggers.create(
    **told, display_name="jokes", execution_timeout_seconds=60, max_consecutive_failures=3, extra_body=model
)
print(trigger.display_name, trigger.status, trigger.schedule, trigger.time_zone, trigger.next_run_time.hour in (7, 8))
print(trigger.execution_timeout_seconds, trigger.max_consecutive_failures, trigger.consecutive_failure_count)
other = client.triggers.create(**told, extra_body=model)
print([found.id == other.id for found in client.triggers.list().triggers])
page = client.triggers.list(page_size=1, filter_="status=active")
rest = client.triggers.list(page_size=1, filter_="status=active", page_token=page.next_page_token)
print(page.triggers[0].id == other.id, rest.triggers[0].id == trigger.id, rest.next_page_token)
client.triggers.delete(other.id)

paused = client.triggers.update(trigger.id, status="paused", display_name="paused jokes")
print(paused.status, paused.display_name, paused.next_run_time, client.triggers.list(filter_="status=active").triggers)
execution = client.triggers.run(trigger.id)
print(execution.trigger_id == trigger.id, execution.status)
while execution.status == "in_progress":
    time.sleep(0.05)
    (execution,) = client.triggers.list_executions(trigger.id).trigger_executions
print(execution.status, execution.start_time <= execution.end_time, execution.error)
print(client.interactions.get(execution.interaction_id).output_text)
resumed = client.triggers.update(trigger.id, status="active")
print(resumed.status, resumed.next_run_time == trigger.next_run_time, resumed.last_run_time is not None)
print(client.triggers.get(trigger.id).previous_interaction_id == execution.interaction_id)

refused(schedule="61 * * * *")
refused(time_zone="Mars/Phobos")
refused(extra_body={})
refused(extra_body={"interaction": {"model": "scripted", "input": "Hi", "tools": [{"type": "spoon"}]}})
client.triggers.delete(trigger.id)
print(len(client.triggers.list_executions(trigger.id, page_size=5).trigger_executions), client.triggers.list().triggers)
try:
    client.triggers.get(trigger.id)
except Exception as error:  # noqa: BLE001 - the client's errors have no public name
    print(error.status_code)
