"""``python -m packshot_pocket.train``: train the pocket family, a model at a time."""

import sys

# Processes that render import this file too: they have no use for torch.
if __name__ == "__main__":
    from packshot_pocket.train.cli import main

    sys.exit(main(sys.argv[1:]))
