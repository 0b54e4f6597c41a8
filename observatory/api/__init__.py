"""The HTTP API: one table of routes, which yields the router, the checks, and the OpenAPI document."""
