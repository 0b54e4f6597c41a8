"""Generic actors on trio: a file watcher, a router and senders. They know when, never what."""
