"""MkDocs calls this at build time: it adds the pages of the reference, which are generated and never typed."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import layers
import reference_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "models" / "zoo" / "lifeiqa-lite0" / "README.md"
SOURCE = tempfile.TemporaryDirectory(prefix="lifeiqa-docs-")


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the reference to the navigation, and tells mkdocstrings where the code is."""
    nav: list[Any] = config.nav or []
    if not any("Reference" in entry for entry in nav):
        nav.append({"Reference": reference_pages.navigation(ROOT)})
    config.nav = nav
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [SOURCE.name]
    return config


def on_pre_build(config: MkDocsConfig) -> None:
    """Copies the code to where its folders have the names of its packages, which is how mkdocstrings finds them."""
    target = Path(SOURCE.name)
    for package, folder in reference_pages.package_folders(ROOT).items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            copy = target.joinpath(*package.split("."), *path.relative_to(ROOT / folder).parts)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages and the picture of the layers."""
    pages = reference_pages.pages(ROOT)
    card = CARD.read_text(encoding="utf-8").replace("../../../docs/", "../")
    pages["reference/lifeiqa-lite0.md"] = re.sub(r"\]\((\w+\.\w+)\)", r"](../assets/\1)", card)
    pages["explanations/layers.svg"] = layers.draw(ROOT / "tests" / "test_rooms.py")
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    files.append(File.generated(config, "assets/ladders.jpg", abs_src_path=str(CARD.parent / "ladders.jpg")))
    return files
