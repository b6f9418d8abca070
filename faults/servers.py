"""MariaDB, Valkey and SeaweedFS of our own, which can be killed, stopped and started again, and faults of theirs."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import pymysql

from faults.processes import Fault
from faults.storage import WAYS, UnreliableStorage
from tests.servers import (
    free_port,
    fresh_database,
    running_mariadb,
    running_seaweedfs,
    running_valkey,
    short_folder,
    valkey_url,
)
from tests.whole import Product

AWAY_S = (0.2, 4.0)
QUARREL_S = 2.0
WEIGHT = 500
"""Rows a quarreller has changed: InnoDB ends the transaction that changed fewest, which is then the product's."""


class Server:
    """A server's process on its data: one life after the other."""

    def __init__(self, begin: Callable[[], AbstractContextManager[subprocess.Popen[bytes]]]) -> None:
        self._begin = begin
        self._start()

    def _start(self) -> None:
        self._life = self._begin()
        self._process = self._life.__enter__()

    def kill(self) -> None:
        self._life.__exit__(None, None, None)

    def dies(self, product: Product, chance: random.Random) -> None:
        """kill -9, and a while later it is back."""
        self.kill()
        time.sleep(chance.uniform(*AWAY_S))
        self._start()

    def hangs(self, product: Product, chance: random.Random) -> None:
        """Takes connections and answers nothing for a while."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(chance.uniform(*AWAY_S))
        self._process.send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class Servers:
    """What the product has to be told of them, and what can happen to them."""

    environment: dict[str, str]
    faults: Mapping[str, Fault]


@contextmanager
def running(*, storage_errors: float, seed: int) -> Iterator[Servers]:
    """All of them; `storage_errors` is the share of requests to S3 that go wrong even while no fault is made."""
    port = free_port()
    with short_folder("my-") as sql, short_folder("vk-") as kv, short_folder("weed-") as objects:
        mariadb = Server(lambda: running_mariadb(sql, port))
        valkey = Server(lambda: running_valkey(kv))
        try:
            database = fresh_database(f"mysql+pymysql://root@127.0.0.1:{port}/")
            with (
                running_seaweedfs(objects) as s3,
                UnreliableStorage(s3.endpoint, share=storage_errors, seed=seed) as line,
            ):
                yield Servers(
                    {
                        "STREAMER_DATABASE__URL": database,
                        "STREAMER_REDIS__URL": valkey_url(kv),
                        "STREAMER_STORAGE__URL": s3.url(s3.bucket()).replace(s3.endpoint, line.endpoint),
                        "STREAMER_STORAGE__ACCESS_KEY": s3.access_key,
                        "STREAMER_STORAGE__SECRET_KEY": s3.secret_key,
                        "STREAMER_INGEST__UPLOADS": "storage",
                        "STREAMER_JOBS__WORKERS": "2",
                    },
                    {
                        "mariadb dies": mariadb.dies,
                        "mariadb hangs": mariadb.hangs,
                        "deadlocks": _quarrels_in(port, database.rpartition("/")[2].partition("?")[0]),
                        "valkey dies": valkey.dies,
                        "valkey hangs": valkey.hangs,
                        **{f"storage {way}": _storage(line, way) for way in WAYS},
                    },
                )
        finally:
            valkey.kill()
            mariadb.kill()


def _storage(line: UnreliableStorage, way: str) -> Fault:
    def fault(product: Product, chance: random.Random) -> None:
        with line.worse(0.7, [way]):
            time.sleep(chance.uniform(*AWAY_S))

    return fault


def _quarrels_in(port: int, database: str) -> Fault:
    """Others lock the same rows in the wrong order, so that the product's transactions deadlock with theirs or wait for them."""

    def quarrel(tables: tuple[str, ...], until: float) -> None:
        with (
            pymysql.connect(
                host="127.0.0.1", port=port, user="root", ssl_disabled=True, database=database
            ) as connection,
            connection.cursor() as cursor,
        ):
            while time.monotonic() < until:
                with suppress(pymysql.err.OperationalError):  # the deadlock was ours
                    cursor.execute("BEGIN")
                    cursor.executemany("INSERT INTO faults_weight (n) VALUES (%s)", [(n,) for n in range(WEIGHT)])
                    for table in tables:
                        cursor.execute(f"SELECT 1 FROM {table} FOR UPDATE")
                        time.sleep(0.02)
                connection.rollback()

    def fault(product: Product, chance: random.Random) -> None:
        with pymysql.connect(
            host="127.0.0.1", port=port, user="root", ssl_disabled=True, database=database
        ) as connection:
            connection.cursor().execute("CREATE TABLE IF NOT EXISTS faults_weight (n INT)")
        until = time.monotonic() + QUARREL_S
        ways = (("jobs", "assets", "versions"), ("uploads", "assets", "jobs"))
        quarrellers = [threading.Thread(target=quarrel, args=(tables, until)) for tables in ways]
        for each in quarrellers:
            each.start()
        for each in quarrellers:
            each.join()

    return fault
