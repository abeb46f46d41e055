"""`python -m outlay.cli`."""

from outlay.cli import main

main()
