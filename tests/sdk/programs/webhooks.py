import sys

from google import genai

client = genai.Client()
EVENTS = ["interaction.completed", "interaction.failed", "interaction.requires_action"]


def begin(uri):
    hook = client.webhooks.create(name="mine", uri=uri, subscribed_events=EVENTS)
    print(hook.id, hook.new_signing_secret)
    print(hook.state, hook.name, hook.uri == uri, hook.subscribed_events == EVENTS, hook.create_time is not None)
    got = client.webhooks.get(id=hook.id)
    print(got.new_signing_secret, got.signing_secrets[0].truncated_secret, got.signing_secrets[0].expire_time)
    print(client.webhooks.ping(id=hook.id) is not None)


def rotate(id):
    previous = "revoke_previous_secrets_after_h24"
    print(client.webhooks.rotate_signing_secret(id=id, revocation_behavior=previous).secret)
    run = client.interactions.create(model="gemini-3-flash-preview", input="Hi", background=True)
    print(run.id)


def revoke(id):
    previous = "revoke_previous_secrets_immediately"
    print(client.webhooks.rotate_signing_secret(id=id, revocation_behavior=previous).secret)
    client.webhooks.ping(id=id, body={})


def config(uri):
    run = client.interactions.create(
        model="gemini-3-flash-preview",
        input="Hi",
        background=True,
        webhook_config={"uris": [uri], "user_metadata": {"job_group": "nightly-eval", "priority": "high"}},
    )
    print(run.id, run.webhook_config.uris == [uri])


def end(id):
    changed = client.webhooks.update(id=id, subscribed_events=["batch.succeeded", "batch.cancelled"], name="other")
    print(changed.name, changed.subscribed_events, changed.state)
    changed = client.webhooks.update(id=id, state="disabled", name="not this", update_mask="state")
    print(changed.name, changed.state)
    page = client.webhooks.list(page_size=1)
    print([one.id == id for one in page.webhooks], page.next_page_token)
    try:
        client.webhooks.create(uri="http://127.0.0.1/", subscribed_events=["interaction.completed"])
    except Exception as error:  # noqa: BLE001 - which one is what the caller checks
        print(error.status_code, "not public" in str(error))
    client.webhooks.delete(id=id)
    try:
        client.webhooks.get(id=id)
    except Exception as error:  # noqa: BLE001 - which one is what the caller checks
        print(error.status_code)
    print(client.webhooks.list().webhooks)


{"begin": begin, "rotate": rotate, "revoke": revoke, "config": config, "end": end}[sys.argv[1]](sys.argv[2])
