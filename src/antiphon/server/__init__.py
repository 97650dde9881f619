"""HTTP: requests become calls of the engine, its answers become responses. Nothing is decided here."""
