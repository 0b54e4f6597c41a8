"""Copies of the archive elsewhere: read from it by a change number, never in the way of what is live."""
