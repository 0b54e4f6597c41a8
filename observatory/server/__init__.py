"""The WebSocket server: thin trio shells around the pure protocol."""
