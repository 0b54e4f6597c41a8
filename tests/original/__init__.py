"""The scenarios of the original request, each through the real thing: log, Router, Senders and sockets."""
