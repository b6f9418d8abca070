"""The visitors' pages: what is on, one film to watch, and errors as pages. `films.routes` and `errors.page` are for `streamer.app`."""
