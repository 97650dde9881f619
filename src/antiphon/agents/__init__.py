"""Agents: what answers an interaction in its own way, over the engine. One readable file each, and what it is made of."""
