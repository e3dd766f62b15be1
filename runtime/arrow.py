"""Apache Arrow, or one line that says what to install: every module takes pyarrow from here, when it needs it."""

from __future__ import annotations

import importlib
from typing import Any

from lifeiqa.runtime.errors import MissingError


def require_arrow(what: str, module: str = "pyarrow") -> Any:
    """A module of pyarrow.

    Args:
        what: needs it, for the message.
        module: its full name.

    Raises:
        MissingError: pyarrow is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingError(f"{what} needs pyarrow. Install it: pip install 'pyarrow>=15'") from None
