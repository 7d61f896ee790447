"""``python -m nsjail_py.cli``."""

import sys

from nsjail_py.cli.main import main

sys.exit(main())
