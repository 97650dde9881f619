"""A run with a receiver of its own, which verifies a token. pip install google-genai 'pyjwt[crypto]'"""

import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
from google import genai

client = genai.Client()
port = int(os.environ.get("PORT", "8080"))
uri = f"http://127.0.0.1:{port}/ended"
keys = jwt.PyJWKClient(os.environ["GOOGLE_GEMINI_BASE_URL"] + "/.well-known/jwks.json")


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        token = self.headers["webhook-signature"]
        claims = jwt.decode(token, keys.get_signing_key_from_jwt(token), algorithms=["RS256"], audience=uri)
        assert claims["payload_sha256"] == hashlib.sha256(body).hexdigest()
        self.send_response(204)
        self.end_headers()
        event = json.loads(body)
        print(event["type"], event["data"]["id"] == run.id, event["user_metadata"])

    def log_message(self, *arguments):
        pass


with HTTPServer(("127.0.0.1", port), Receiver) as server:
    run = client.interactions.create(
        model="gemini-3-flash-preview",
        input="Write the slow report.",
        background=True,
        webhook_config={"uris": [uri], "user_metadata": {"job_group": "nightly"}},
    )
    server.handle_request()
