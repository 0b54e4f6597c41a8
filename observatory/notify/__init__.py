"""Notifications: what a person who is not looking wants to hear of, and the ways it goes out."""
