"""``python -m xlsr_cli``."""

import sys

from xlsr_cli.cli.app import main

sys.exit(main())
