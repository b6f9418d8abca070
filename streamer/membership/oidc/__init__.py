"""Signing in by somebody else's word: OpenID Connect, authorization code with PKCE. `flow` is the way there and back, `accounts` who comes out of it."""
