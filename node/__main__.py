"""The command ``cuckoo``, also as ``python -m node``."""

from node.cli.main import main

if __name__ == "__main__":
    main()
