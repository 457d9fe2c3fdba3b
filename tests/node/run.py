"""Starts the service and lets `check.mjs` use it: `make node`. Needs Node and npm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from streamvlm.evaluate.through_service import serving

HERE = Path(__file__).parent


def main() -> int:
    """The exit status of the check."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            sys.stderr.write(f"{program} is missing; run: apt-get install nodejs npm\n")
            return 1
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"],
        cwd=HERE,
        check=True,
    )
    with serving() as address:
        return subprocess.run(["node", "check.mjs", address], cwd=HERE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
