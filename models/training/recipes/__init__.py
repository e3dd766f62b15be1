"""The recipes that come with the package, a TOML file each. Loads nothing, so that -h of a command can name them."""

from __future__ import annotations

from importlib import resources


def recipe_names() -> list[str]:
    """The recipes inside the package."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """The TOML of one of `recipe_names`."""
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
