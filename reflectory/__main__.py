"""`python -m reflectory` is the `reflectory` command."""

from __future__ import annotations

from reflectory.cli import main

if __name__ == "__main__":
    main()
