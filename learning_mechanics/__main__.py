"""`python -m learning_mechanics` is the command `learning-mechanics`."""

import sys

from learning_mechanics.cli import main

sys.exit(main())
