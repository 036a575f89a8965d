"""Pictures to play with: a cell tagged `play-NAME` gets one below it, filled in by `_static/play.js`."""
import json

from nbformat.v4 import new_markdown_cell

from regmix.files import write_file

from .pages import BUILD

TAG = "play-"
KEPT = BUILD/"play.json"


def numbers(key: str) -> dict[str, str]:
    "Return the numbers of each picture as JSON; those of the same package are kept from the last time."
    if KEPT.is_file() and (kept := json.loads(KEPT.read_text())).get("key") == key: return kept["pictures"]
    from regmix.explorer import as_json, play_data
    pictures = {name: as_json(data).replace("<", "\\u003c") for name, data in play_data().items()}
    write_file(KEPT, json.dumps({"key": key, "pictures": pictures}))
    return pictures


def figure(name: str, data: str) -> str:
    "Write the place of a picture, with its numbers, on one line: an empty one would end the block of HTML."
    place = f'class="play" id="{TAG}{name}" role="group" data-play="{name}"'
    lacking = "<noscript>This picture has sliders. It needs JavaScript, and no network.</noscript>"
    return f'<div {place}>{lacking}<script type="application/json">{data}</script></div>'


def with_pictures(cells: list, pictures: dict[str, str]) -> list:
    "Put each picture below the cell that is tagged for it."
    made = []
    for cell in cells:
        names = [t.removeprefix(TAG) for t in cell.metadata.get("tags", []) if t.startswith(TAG)]
        made += [cell, *(new_markdown_cell(figure(name, pictures[name])) for name in names)]
    return made
