"""`python -m runners.cli`: what bench.sh runs."""

import sys

from runners.cli.main import main

sys.exit(main())
