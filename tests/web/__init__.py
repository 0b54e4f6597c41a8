"""The dashboard, in a real browser against a real server; and its client, under Node."""
