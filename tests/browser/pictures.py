"""The browser that looks at the README's pictures: Debian's, so that nothing is downloaded."""

import shutil
from typing import Final

CHROMIUM: Final = shutil.which("chromium")
CHROMIUM_MISSING: Final = "Chromium is not installed: apt install chromium"
CHROMIUM_PROMISES: Final = "that the README's pictures can be read: no text leaves its picture or its box"
