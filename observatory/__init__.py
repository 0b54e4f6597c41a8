"""Claude Code Observatory: follow transcripts, keep every record, push each one to every subscriber."""

__version__ = "0.1.0"
