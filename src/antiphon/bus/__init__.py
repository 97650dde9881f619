"""Live events, from whoever runs an interaction to whoever follows it: one file per bus."""
