"""`python -m cli`: the `blazz` command without an installed script (how children are started)."""

from cli.main import main

if __name__ == "__main__":
    main()
