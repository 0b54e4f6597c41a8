"""The Python client: one connection, or the log through all its connections."""
