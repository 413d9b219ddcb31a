"""``python -m autogas``: the command line."""

from autogas.cli.main import main

if __name__ == "__main__":
    main()
