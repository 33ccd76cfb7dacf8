"""`python -m prefixbank`: the command line."""

from prefixbank.cli.app import main

if __name__ == "__main__":
    main()
