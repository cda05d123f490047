"""Floor 3 · Templates and static files of the pages: found, named by what is in them, filled."""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from xstatic.pkg import leaflet

HERE = Path(__file__).parent
STATIC = HERE / "static"
LEAFLET = Path(leaflet.BASE_DIR)
LEAFLET_AT = "/static/leaflet"
CACHE = "public, max-age=86400"


def _static(name: str) -> str:
    """The address of a static file; another content has another address, so that browsers may keep it."""
    return f"/static/{name}?v={_digests[name]}"


def _query(**values: object) -> Markup:
    return Markup(urlencode({key: value for key, value in values.items() if value not in (None, "")}))  # noqa: S704 - quoted


def _code(text: str) -> Markup:
    """Backticks of a docstring as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


_digests = {
    path.name: blake2b(path.read_bytes(), digest_size=6).hexdigest() for path in STATIC.iterdir() if path.is_file()
}
_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["code"] = _code
_templates.globals.update(static=_static, query=_query)


def render(template: str, **values: object) -> str:
    return _templates.get_template(template).render(**values)


def render_macro(template: str, macro: str, *values: object) -> str:
    module = _templates.get_template(template).module
    return str(getattr(module, macro)(*values))


def script_data(values: dict[str, object]) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(json.dumps(values, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704 - nothing in it ends a script
