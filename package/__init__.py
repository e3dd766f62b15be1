"""Blind image quality assessment at the edge: `lifeiqa.runtime` scores, `models` trains, `export` makes artifacts.

This folder is the import package `lifeiqa` itself. It has another name, because a folder `lifeiqa/` in a clone would
hide the installed package from a Python that runs in the clone's root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["__version__"]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """`__version__`, read when asked for from what was installed: it is written in pyproject.toml alone."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version

        return version("lifeiqa")
