"""Webhooks: who is told that an interaction ended, and how it is seen to that they are.

`registry.py` keeps a project's webhooks, `signing.py` and `tokens.py` sign what is sent, `sender.py` sends it,
`deliveries.py` sees to it that it is sent, after a crash too.
"""
