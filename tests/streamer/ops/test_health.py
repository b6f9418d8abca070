import threading
from pathlib import Path

import httpx2
import pytest

from streamer import migrations
from streamer.app import create_app
from streamer.config import Config, Database, Redis, Storage
from streamer.ops import health as health_checks
from streamer.services import Services, close_services, open_services
from tests.streamer.running import running
from tests.streamer.stack import make_config
from tests.web import NO_TLS


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    url: str = f"sqlite:///{tmp_path}/streamer.db"
    return url if request.param == "sqlite" else request.getfixturevalue("mariadb_url")


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str) -> Config:
    return make_config(tmp_path, database=database_url, redis=redis_url)


def health(config: Config, *, migrated: bool = True) -> tuple[int, dict[str, str]]:
    app = create_app(config)
    if migrated:
        migrations.upgrade(app.state.services.engine)
    with running(app) as url:
        assert httpx2.get(f"{url}/livez", verify=NO_TLS).json() == {"status": "live"}
        answer = httpx2.get(f"{url}/healthz", timeout=20, verify=NO_TLS)
    return answer.status_code, answer.json()["checks"]


def test_ready_when_everything_answers(config: Config) -> None:
    assert health(config) == (200, {"database": "ok", "redis": "ok", "storage": "ok"})


def test_not_ready_before_the_database_is_migrated(config: Config) -> None:
    assert health(config, migrated=False) == (503, {"database": "failed", "redis": "ok", "storage": "ok"})


def test_not_ready_without_redis(config: Config, tmp_path: Path) -> None:
    away = config.model_copy(update={"redis": Redis(url=f"unix://{tmp_path}/nobody")})
    assert health(away) == (503, {"database": "ok", "redis": "failed", "storage": "ok"})


def test_not_ready_without_a_database(config: Config) -> None:
    away = config.model_copy(update={"database": Database(url="mysql+pymysql://root@127.0.0.1:1/x")})
    assert health(away, migrated=False) == (503, {"database": "failed", "redis": "ok", "storage": "ok"})


def test_ready_on_s3_and_not_without_it(config: Config, s3_url: str) -> None:
    on_s3 = config.model_copy(update={"storage": Storage(url=s3_url)})
    assert health(on_s3)[0] == 200
    away = config.model_copy(update={"storage": Storage(url="s3://b/?endpoint=http://127.0.0.1:1&region=us-east-1")})
    assert health(away) == (503, {"database": "ok", "redis": "ok", "storage": "failed"})


async def test_a_check_that_hangs_takes_one_thread_however_often_it_is_asked(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, over = [], threading.Event()

    def hanging(services: Services) -> None:
        asked.append(1)
        over.wait(20)

    monkeypatch.setattr("streamer.ops.health._storage", hanging)
    monkeypatch.setattr("streamer.ops.health._GIVE_UP_S", 0.1)
    services = open_services(config)
    probes = health_checks.Probes(services)
    for _ in range(4):
        assert (await probes.results())["storage"] == "failed"
    over.set()
    assert len(asked) == 1
    close_services(services)
