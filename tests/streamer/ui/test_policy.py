from streamer.ui import csp


def directives(policy: str) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in policy.split("; "))


def test_nothing_inline_and_nothing_from_elsewhere_is_allowed() -> None:
    policy = csp()
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    allowed = directives(policy)
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["worker-src"] == "'self'"
    assert allowed["frame-ancestors"] == allowed["base-uri"] == "'none'"


def test_a_media_host_may_send_media_posters_and_playlists_and_nothing_else() -> None:
    allowed = directives(csp("https://cdn.example"))
    named = {name for name, sources in allowed.items() if "https://cdn.example" in sources}
    assert named == {"img-src", "media-src", "connect-src"}
