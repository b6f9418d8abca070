"""A media library and a command: source in, HLS out. Knows `storage`; knows no database and no web."""
