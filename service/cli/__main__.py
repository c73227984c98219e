"""`python -m service.cli`: the same as `tidemark`."""

from service.cli.main import main

main()
