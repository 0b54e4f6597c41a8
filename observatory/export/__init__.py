"""A conversation taken along: as lines, Markdown or a page, and what all of them read."""
