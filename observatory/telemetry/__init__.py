"""Structured logs and latency tracing."""
