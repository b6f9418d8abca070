"""Schemathesis asks a running server what its description allows and what it forbids, with all of its checks, and finds nothing.

A few examples for each operation here; `make contract` runs its other phases too (each boundary of each member, each method, sequences of requests),
which takes minutes.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from streamer import db
from streamer.accounts import apikeys, users
from streamer.app import api_routes, create_app
from streamer.config import Config
from tests.servers import ROOT
from tests.streamer.running import running
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite"]

HERE = Path(__file__).parent
FEW = "--phases fuzzing --max-examples 1 --seed 1"


def test_the_api_keeps_its_contract(config: Config, tmp_path: Path) -> None:
    unlimited = {name: 0 for name in type(config.limits).model_fields if name != "window_s"}
    config = config.model_copy(update={"limits": config.limits.model_copy(update=unlimited)})
    app = create_app(config)
    with db.session(app.state.services) as s:
        admin = users.create(s, config.accounts, email="a@example.org", name="A", role="admin", password="a good one")
        _, secret = apikeys.issue(s, admin, name="contract")
    with running(app) as url:
        asked = subprocess.run(
            [
                *(
                    str(Path(sys.executable).with_name("schemathesis")),
                    "--config-file",
                    str(HERE / "schemathesis.toml"),
                ),
                *("run", f"{url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {secret}"),
                *("--checks", "all", "--no-shrink", "--continue-on-failure", "--no-color"),
                *shlex.split(os.environ.get("CONTRACT", FEW)),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            capture_output=True,
        )
    assert asked.returncode == 0, asked.stdout
    everything = sum(len(route.operations) for route in api_routes()) - 1  # all but where the description itself is
    assert f"Selected: {everything}/{everything}" in asked.stdout, asked.stdout
