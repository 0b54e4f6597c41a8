"""A stand-in for PostgREST over a real PostgreSQL, for tests: no PostgREST can be installed where they run.

It is tied to the real one by its recorded answers (cases/). Wherever it is named it is called a stand-in.
"""
