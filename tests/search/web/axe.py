"""axe-core, which finds what keeps people with other means than a mouse and eyes out of a page.

Source: https://github.com/dequelabs/axe-core, installed by ``.ci/javascript``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

SCRIPT = Path(__file__).parents[3] / "build" / "js" / "node_modules" / "axe-core" / "axe.min.js"

needs_axe = pytest.mark.skipif(
    not SCRIPT.exists() and not os.environ.get("CI"), reason="run .ci/javascript for axe-core"
)
"""In CI a test fails where there is no axe-core."""


def faults(page: Page) -> list[str]:
    """Return what axe-core finds in a page as it is now."""
    page.evaluate(f"{SCRIPT.read_text(encoding='utf-8')}; 0")
    found = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
