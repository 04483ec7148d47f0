"""``python -m headrace`` is the program ``headrace``."""

from headrace.entrypoints.cli import main

if __name__ == "__main__":
    main()
