"""What `streamer` and `python -m streamer` run.

Nothing of what is loaded at a start is garbage, and looking for some among it takes a sixth of the start: the collector rests until all is there
(`command.settings_of` wakes it).
"""

import gc


def main() -> None:
    gc.disable()
    from streamer import cli

    cli.main()


if __name__ == "__main__":
    main()
