"""The torture suite: scripted runs, faults at any event, and what must hold whatever happens (docs/torture.md)."""
