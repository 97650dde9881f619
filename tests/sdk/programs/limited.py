"""Asks once, with the key that is the argument, and prints what came of it."""

import sys

from google import genai

client = genai.Client(api_key=sys.argv[1])
try:
    print(client.interactions.create(model="scripted", input="Hello").status)
except Exception as error:  # noqa: BLE001 - which one it is, is what is printed
    print(type(error).__name__, error.status_code)
    print(error)
