"""Draws the layers of the code as an SVG, from the floors that tests/test_rooms.py holds the imports to."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOM_WIDTH, ROOM_HEIGHT, GAP, PADDING, TITLE = 106, 30, 8, 14, 30
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
COLOURS = ("#e0f2f1", "#e3f2fd", "#fff8e1")  # of the packages' floors, lowest first


def floors(test: Path) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """The floor of each package, and of each room within its package."""
    found = {}
    for node in ast.parse(test.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id in ("PACKAGES", "ROOMS"):
            found[target.id] = ast.literal_eval(node.value)
    return found["PACKAGES"], found["ROOMS"]


def draw(test: Path) -> str:
    """An SVG: packages as boxes, the highest floor on top, the rooms of each in rows by their floors."""
    packages, rooms = floors(test)
    sizes = {name: _size(rooms.get(name, {})) for name in packages}
    rows: dict[int, list[str]] = defaultdict(list)
    for name, floor in packages.items():
        rows[floor].append(name)
    width = max(sum(sizes[n][0] for n in row) + GAP * 2 * (len(row) - 1) for row in rows.values())
    parts, top = [], 0
    for floor in sorted(rows, reverse=True):
        names = rows[floor]
        height = max(sizes[name][1] for name in names)
        free = width - sum(sizes[name][0] for name in names) - 2 * GAP * (len(names) - 1)
        left = 0
        for name in sorted(names, key=lambda name: -sizes[name][0]):
            box = sizes[name][0] + free // len(names)
            parts.append(_package(name, rooms.get(name, {}), left, top, box, height, COLOURS[floor % len(COLOURS)]))
            left += box + 2 * GAP
        top += height + 2 * GAP
    top -= 2 * GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {width + 4} {top + 4}" width="{width + 4}" '
        f'height="{top + 4}" font-family="{FONT}" font-size="13">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _rows_of(rooms: dict[str, int]) -> list[list[str]]:
    """Names of rooms by floor, the highest first."""
    return [[n for n, f in rooms.items() if f == floor] for floor in sorted(set(rooms.values()), reverse=True)]


def _size(rooms: dict[str, int]) -> tuple[int, int]:
    rows = _rows_of(rooms)
    columns = max((len(row) for row in rows), default=1)
    width = 2 * PADDING + columns * ROOM_WIDTH + (columns - 1) * GAP
    return max(width, 170), TITLE + PADDING + len(rows) * (ROOM_HEIGHT + GAP)


def _package(name: str, rooms: dict[str, int], left: int, top: int, width: int, height: int, colour: str) -> str:
    lines = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="{colour}" stroke="#546e7a"/>',
        f'<text x="{left + PADDING}" y="{top + 21}" font-weight="600" fill="#263238">{name}/</text>',
    ]
    for row, names in enumerate(_rows_of(rooms)):
        y = top + TITLE + row * (ROOM_HEIGHT + GAP)
        each = (width - 2 * PADDING - (len(names) - 1) * GAP) / len(names)
        for column, room in enumerate(names):
            x = left + PADDING + column * (each + GAP)
            lines.append(
                f'<rect x="{x:.1f}" y="{y}" width="{each:.1f}" height="{ROOM_HEIGHT}" rx="4" fill="#ffffff" '
                f'stroke="#90a4ae"/><text x="{x + each / 2:.1f}" y="{y + 20}" text-anchor="middle" '
                f'fill="#263238">{room}</text>'
            )
    return "\n".join(lines)
