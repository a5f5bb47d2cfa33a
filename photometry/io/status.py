"""The state of a run in a small JSON file, for people and programs that look from outside."""

import json
from pathlib import Path
from typing import Any

from photometry.io.atomic import writing


def write_status(path: Path, values: dict[str, Any]) -> None:
    """Replace the file; a reader sees the old state or the new one, never a part."""
    with writing(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
