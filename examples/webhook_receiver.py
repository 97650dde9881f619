"""Starts a background run, and is told when it has ended. pip install google-genai standardwebhooks"""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

from google import genai
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

client = genai.Client()
port = int(os.environ.get("PORT", "8080"))


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))  # as it came: the signature is of these bytes
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = Webhook(hook.new_signing_secret).verify(body, headers)
        except WebhookVerificationError:
            self.answer(400)
            return
        self.answer(204)  # at once; what takes long is done later, and what has this webhook-id is done once
        run = client.interactions.get(event["data"]["id"])
        print(event["type"], run.status, run.output_text)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


with HTTPServer(("127.0.0.1", port), Receiver) as server:
    hook = client.webhooks.create(
        name="reports",
        uri=f"http://127.0.0.1:{port}/ended",
        subscribed_events=["interaction.completed", "interaction.failed"],
    )
    client.interactions.create(model="gemini-3-flash-preview", input="Write the slow report.", background=True)
    server.handle_request()
    client.webhooks.delete(id=hook.id)
