"""The Content-Security-Policy of every HTML page: our own origin and nothing inline, neither script nor style.

Two libraries had to be taught to live with it, both at build time (see `src/shadow.js` and `tools/shadow-styles.mjs`):
- media-chrome and hls-video-element put `<style>` elements into their shadow roots, which `style-src 'self'` refuses; the
  build turns them into constructable stylesheets, which the policy does not concern.
- hls.js starts its worker from our own origin (`workerPath`), so `worker-src` needs no `blob:`.
`media-src blob:` stays: a Media Source object URL is a blob; `data:` is the empty track (`data:,WEBVTT`) that the player gives a film's captions. `img-src data:` is for the small icons in the style sheet.
"""


def csp(media_origin: str = "") -> str:
    """The header's value. `media_origin` ("https://cdn.example") is where manifests, media and posters come from
    when a CDN serves them; empty when they come from our own origin."""
    media = f" {media_origin}" if media_origin else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data:{media}",
            f"media-src 'self' blob: data:{media}",
            f"connect-src 'self'{media}",
            "worker-src 'self'",
            "font-src 'self'",
            "manifest-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "object-src 'none'",
        )
    )
