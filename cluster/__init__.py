"""Several servers on this machine: PostgreSQL, NATS, two that take requests and two that do the work."""
