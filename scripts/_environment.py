"""`import _environment` first in a script, and it runs directly on a fresh clone.

A script started by any other interpreter than the project's own makes the environment
(bench.sh --setup-only) and starts again inside it. This file has to parse on any Python 3,
so that an old one ends in bench.sh's one line instead of a traceback.
"""

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
VENV = ROOT / ".venv"


def _running_script() -> "str | None":
    """The script of ours that was started; None when something else imports one."""
    started = getattr(sys.modules["__main__"], "__file__", None)
    if started is None or Path(started).resolve().parent != SCRIPTS:
        return None
    return str(started)


def enter() -> None:
    """Restart the running script under .venv, unless it already runs there."""
    script = _running_script()
    if script is not None and Path(sys.prefix).resolve() != VENV.resolve():
        failed = subprocess.call([str(ROOT / "bench.sh"), "--setup-only"])
        if failed:
            sys.exit(failed)
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, script, *sys.argv[1:]])
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


enter()
