"""The durable event log and archive on SQLite."""
