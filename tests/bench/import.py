"""`python -m tests.bench.import`: see history.py, which other modules can import."""

from tests.bench.history import main

if __name__ == "__main__":
    main()
