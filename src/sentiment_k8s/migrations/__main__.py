"""`python -m sentiment_k8s.migrations init.sql` writes the schema; without a name, to stdout."""

import sys
from pathlib import Path

from .runner import init_sql

if len(sys.argv) > 1:
    Path(sys.argv[1]).write_text(init_sql())
else:
    sys.stdout.write(init_sql())
