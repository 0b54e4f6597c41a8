"""`observatory doctor`: collects facts, has the core judge them, and reports each problem with its cure."""
