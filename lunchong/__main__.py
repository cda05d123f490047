"""`python -m lunchong` is the command `lunchong`."""

from lunchong.cli import main

if __name__ == "__main__":
    main()
