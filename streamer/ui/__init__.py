"""The design system both web apps share: sources, Jinja macros, built assets and the page security policy.

Nothing here knows a domain: `streamer.site` and `admin` bring their own templates and hand over plain values.
Built files are committed in `static/` so that nobody needs Node to run the product; `npm run build` remakes them.
"""

from streamer.ui.assets import asset
from streamer.ui.policy import csp

__all__ = ["asset", "csp"]
