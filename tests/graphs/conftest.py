"""Make the toy world of tests/runs importable under the name that its dotted paths use."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runs"))
