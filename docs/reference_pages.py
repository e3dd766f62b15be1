"""Writes the reference as Markdown: commands, exit codes, limits, recipes, and the API, each from its source."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

import command_pages
import layers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_API = ("cli", "__main__", "__init__")  # modules; the commands have pages of their own
NOT_API_PACKAGES = ("lifeiqa", "lifeiqa.models.commands")


def package_folders(root: Path) -> dict[str, str]:
    """The folder of each top package, as pyproject.toml maps them."""
    return dict(_project(root)["tool"]["setuptools"]["package-dir"])


def navigation(root: Path) -> list[Any]:
    """The entries of the reference."""
    commands = [{name: f"reference/commands/{name}.md"} for name in command_pages.scripts(root)]
    packages = [{name.removeprefix("lifeiqa."): f"reference/api/{name}.md"} for name in _packages(root)]
    return [
        "reference/index.md",
        {"Commands": ["reference/commands/index.md", *commands]},
        {"Exit codes": "reference/exit-codes.md"},
        {"Recipes": "reference/recipes.md"},
        {"Limits": "reference/limits.md"},
        {"Model lifeiqa-lite0": "reference/lifeiqa-lite0.md"},
        {"Python": packages},
    ]


def pages(root: Path) -> dict[str, str]:
    """Markdown by the address of its page."""
    found = {
        "reference/index.md": _index(),
        "reference/exit-codes.md": exit_codes(),
        "reference/recipes.md": _recipes(root),
        "reference/limits.md": _limits(root),
    }
    found |= command_pages.pages(root)
    found |= {f"reference/api/{name}.md": _api(root, name) for name in _packages(root)}
    return found


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def _packages(root: Path) -> list[str]:
    return [
        name
        for name in _project(root)["tool"]["setuptools"]["packages"]
        if name not in NOT_API_PACKAGES and _modules(root, name)
    ]


def _folder(root: Path, package: str) -> Path:
    top = ".".join(package.split(".")[:2])
    return root.joinpath(package_folders(root)[top], *package.split(".")[2:])


def _modules(root: Path, package: str) -> list[str]:
    """Modules of a package, those of the highest floor first: that is what users call."""
    rooms = layers.floors(root / "tests" / "test_rooms.py")[1].get(package.rpartition(".")[2], {})
    names = [p.stem for p in _folder(root, package).glob("*.py") if p.stem not in NOT_API]
    return sorted(names, key=lambda name: (-rooms.get(name, 0), name))


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _index() -> str:
    return (
        "# Reference\n\n"
        "These pages are made from the code when the documentation is built: options from the commands, exit codes "
        "from the errors, settings and functions from the docstrings.\n\n"
        "- [Commands](commands/index.md): every option with its default.\n"
        "- [Exit codes](exit-codes.md): what a script can rely on.\n"
        "- [Recipes](recipes.md): the settings of `lifeiqa-train`.\n"
        "- [Limits](limits.md): how far an exported model may be from its checkpoint, and what people expect of scores."
        "\n"
        "- [lifeiqa-lite0](lifeiqa-lite0.md): the card of the packaged model.\n"
        "- [Python](api/lifeiqa.runtime.md): every module, class and function.\n"
    )


def _api(root: Path, package: str) -> str:
    intro = _docstring(_folder(root, package) / "__init__.py")
    modules = "\n".join(f"::: {package}.{module}\n" for module in _modules(root, package))
    return f"# {package}\n\n{intro}\n\n{modules}"


def exit_codes() -> str:
    """The page of exit codes, from the classes of runtime/errors.py."""
    errors = importlib.import_module("lifeiqa.runtime.errors")
    kinds: dict[int, list[str]] = {}
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.LifeIQAError) and kind is not errors.LifeIQAError:
            kinds.setdefault(kind.exit_code, []).append(f"`{name}`: {inspect.getdoc(kind)}")
    rows = [(code, "<br>".join(lines)) for code, lines in sorted(kinds.items())]
    rows.insert(0, (0, "Done. A camera that is interrupted also ends with 0."))
    rows.append((130, "Interrupted. What was scored until then is kept."))
    table = "\n".join(f"| {code} | {text} |" for code, text in rows)
    title, tree, rest = inspect.cleandoc(errors.__doc__).split("\n\n")
    return (
        "# Exit codes\n\nEvery command ends with one of these codes. An error is one line on standard error; it says "
        "what is wrong and what to do.\n\n"
        f"| code | meaning |\n|---|---|\n{table}\n\n"
        "In a run over many pictures, one that cannot be scored does not stop the others: the run ends with 1.\n\n"
        f"## The tree of errors\n\n{title}\n\n```text\n{textwrap.dedent(tree)}\n```\n\n{rest}\n"
    )


def _recipes(root: Path) -> str:
    folder = root / "models" / "training"
    names = sorted(path.stem for path in (folder / "recipes").glob("*.toml"))
    files = "\n".join(
        f"### {name}\n\n```toml\n{(folder / 'recipes' / f'{name}.toml').read_text(encoding='utf-8')}```\n"
        for name in names
    )
    recipe = _settings(root, "lifeiqa.models.training.recipe", "Recipe")
    network = _settings(root, "lifeiqa.models.network.config", "LifeIQAConfig")
    return (
        f"# Recipes\n\n{_docstring(folder / 'recipe_files.py')}\n\n"
        "`lifeiqa-train --recipe NAME` takes one that comes with the package, `--recipe FILE.toml` one of your own. "
        "`--set KEY=VALUE` changes a setting of either. A setting that does not exist is an error that names the "
        "nearest one.\n\n"
        f"## Recipes of the package\n\n{files}\n"
        f"## Settings of training {{ #training }}\n\n{recipe}\n\n"
        f"## Settings of the network {{ #network }}\n\n{network}\n"
    )


def _settings(root: Path, module: str, name: str) -> str:
    """A dataclass's fields as a table: name, default, and what its docstring says."""
    import griffe

    source = _folder(root, module.rpartition(".")[0]) / f"{module.rpartition('.')[2]}.py"
    kind = griffe.visit(module, filepath=source, code=source.read_text(encoding="utf-8"))[name]
    sections = griffe.Docstring(_class_docstring(source, name), parent=kind).parse("google", warnings=False)
    rows = []
    for section in sections:
        for field in section.value if section.kind is griffe.DocstringSectionKind.attributes else ():
            defaults = [str(kind.members[key].value) for key in field.name.split(", ") if key in kind.members]
            text = " ".join(field.description.split()).replace("|", "\\|")
            rows.append(f"| `{field.name}` | `{', '.join(defaults)}` | {text} |")
    return "\n".join(["| setting | default | what |", "|---|---|---|", *rows])


def _class_docstring(path: Path, name: str) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(ast.get_docstring(n) or "" for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


def _run_alone(path: Path) -> Any:
    """A module by its path: its package needs what the documentation does not."""
    name = f"lifeiqa_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} cannot be loaded")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limits(root: Path) -> str:
    """From calibration/limits.py and benchmarks/behaviour_limits.py."""
    limits = _run_alone(root / "calibration" / "limits.py")
    rows = "\n".join(
        f"| {key.split('/')[0]} | {key.split('/')[1]} | {limit.worst:g} | {limit.srocc:g} |"
        for key, limit in limits.LIMITS.items()
    )
    return (
        "# Limits\n\nAn exported model that misses its limit is not written, and the command ends with 4. All limits "
        "stand in `calibration/limits.py`.\n\n"
        "| arithmetic | stored weights | largest difference, as a share of the score range | smallest SROCC |\n"
        f"|---|---|---|---|\n{rows}\n\n"
        "The largest difference is that of a single crop in FP32, and of a picture in reduced precision. SROCC is that "
        f"with PyTorch's scores, and is held where there are {limits.MIN_RANKED} scores or more. The guard allows "
        f"{limits.GUARD_MARGINS['fp16']:g} (FP16) and {limits.GUARD_MARGINS['int8']:g} (INT8) of the largest "
        "difference on its own pictures, because later pictures are other ones. Calibration needs "
        f"{limits.MIN_CROPS} crops and warns below {limits.RECOMMENDED_CROPS}.\n\n"
        + _behaviour(_run_alone(root / "benchmarks" / "behaviour_limits.py"))
    )


def _behaviour(expected: Any) -> str:
    kinds = "\n".join(f"- {kind}: {what}" for kind, what in expected.KINDS.items())
    rows = []
    for check in expected.CHECKS:
        groups: dict[float, list[str]] = {}
        for kind, limit in check.limits.items():
            groups.setdefault(limit, []).append(kind)
        for limit, names in groups.items():
            size = f"{100 * limit:g} %" if check.unit == "share" else f"{limit:g}"
            first = (check.name, check.expected) if limit == next(iter(groups)) else ("", "")
            rows.append(f"| {first[0]} | {first[1]} | {check.bound} {size} | {', '.join(names)} |")
    table = "\n".join(rows)
    return (
        "## Behaviour { #behaviour }\n\nWhat `benchmarks/behaviour.py` holds, on each kind of picture; see "
        "[What people expect of a score](../explanations/behaviour.md). These limits stand in "
        "`benchmarks/behaviour_limits.py`. Scores and their changes are in points of 0-100, before scores are brought "
        "into that range; of a kind, the picture nearest to the limit counts. Shares are of all pairs.\n\n"
        f"{kinds}\n\n| check | what is expected | limit | kinds of picture |\n|---|---|---|---|\n{table}\n"
    )
