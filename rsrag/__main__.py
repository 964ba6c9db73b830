"""``python -m rsrag``: the command line."""

from rsrag.cli import main

if __name__ == "__main__":
    main()
