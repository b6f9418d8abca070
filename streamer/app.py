"""The composition root: every room's routes in one application, and the only place that names `admin`.

`create_app(config)` opens the services (nothing connects yet) and returns a Starlette application. Media requests
(`/p/…`) go to the origin before any middleware; everything else passes by `streamer.middleware`.
Importing this module must never import PyAV: decoding is for workers (a test looks).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from admin import app as admin_app
from streamer import openapi, ui
from streamer.accounts import api as accounts_api
from streamer.accounts import audit_api, devices_api, doors, limits, roles_api, second_factor_api
from streamer.accounts.budgets import Budgets
from streamer.accounts.limits import Kind, Limited
from streamer.billing import api as billing_api
from streamer.catalog import api as catalog_api
from streamer.catalog import collections_api
from streamer.config import Config
from streamer.delivery import api as delivery_api
from streamer.delivery import cdn
from streamer.delivery.origin import Origin
from streamer.ingest import api as ingest_api
from streamer.ingest import tidying
from streamer.jobs import api as jobs_api
from streamer.jobs import workers_api
from streamer.membership import api as membership_api
from streamer.middleware import BodyFirst, BodyLimit, KnownHosts, LastResort, RequestLog, SecurityHeaders
from streamer.openapi import PREFIX, Contract
from streamer.operations import ApiRoute, Operation, by_path
from streamer.ops import cache_api, health
from streamer.problems import handlers
from streamer.services import Services, close_services, open_services
from streamer.site import errors, films, reference
from streamer.ui.assets import BuiltFiles
from streamer.webhooks import api as webhooks_api

MEDIA = "/p/"

log = structlog.get_logger("streamer.access")


class Application(Starlette):
    """Starlette with a short way to the origin."""

    origin: Origin
    log_media: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(MEDIA):
            return await super().__call__(scope, receive, send)
        if self.log_media:
            log.info("media", method=scope["method"], path=scope["path"])  # streamer.log takes the token out
        await self.origin(scope, receive, send)


def create_app(config: Config) -> Application:
    """The whole server as one ASGI application."""
    services = _services(config)
    api = api_routes()
    app = Application(
        routes=_routes(services, api),
        middleware=_middleware(config),
        exception_handlers=handlers(),
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.contract = Contract(api)
    app.state.probes = health.Probes(services)
    app.state.error_page = errors.page
    app.origin = Origin(services)
    app.log_media = config.log.media
    return app


def _services(config: Config) -> Services:
    """With what later rooms provide to earlier ones, which can't import them."""
    services = open_services(config)
    return replace(services, poster_url=partial(cdn.poster_url, config, services.secrets))


def api_routes() -> list[ApiRoute]:
    """Every route of the API. One that does not say who may ask has no place here."""
    routes = [
        *accounts_api.routes,
        *roles_api.routes,
        *second_factor_api.routes,
        *devices_api.routes,
        *audit_api.routes,
        *jobs_api.routes,
        *workers_api.routes,
        *cache_api.routes,
        *membership_api.routes,
        *catalog_api.routes,
        *collections_api.routes,
        *billing_api.routes,
        *ingest_api.routes,
        *delivery_api.routes,
        *webhooks_api.routes,
        doors.route(
            "/openapi.json", openapi.serve, Operation("GET", "Read this description", doors.OPEN, dict[str, Any])
        ),
    ]
    for route in routes:
        if not (isinstance(route, ApiRoute) and route.operations):
            raise TypeError(f"{route.path} does not say who may ask; make it with accounts.doors.route")
    return routes


def _routes(services: Services, api: Sequence[ApiRoute]) -> list[BaseRoute]:
    pages = [*films.routes, *reference.routes, *admin_app.create(services)]
    budgets = Budgets(services.kv)
    return [
        *health.routes,
        Mount("/static", BuiltFiles()),
        Mount(PREFIX, routes=[_guarded(route, budgets, services.config, Kind.READING) for route in by_path(api)]),
        *(_guarded(route, budgets, services.config, Kind.PAGES) for route in pages),
    ]


def _guarded(route: Route, budgets: Budgets, config: Config, reading: Kind) -> Route:
    """A route whose requests are counted and which, if it runs in a thread, gets that when the body is there. The rooms' own routes stay as they are."""
    route = copy(route)
    if not iscoroutinefunction(route.endpoint):
        route.app = BodyFirst(route.app, config.server.body_timeout_s)
    route.app = Limited(route.app, budgets, config.limits, limits.kind_of(route.endpoint), reading)
    return route


def _middleware(config: Config) -> list[Middleware]:
    """From the outside in."""
    cdn_address = urlsplit(config.delivery.public_base_url)
    policy = ui.csp(f"{cdn_address.scheme}://{cdn_address.netloc}" if cdn_address.netloc else "")
    public = urlsplit(config.server.public_url)
    return [
        Middleware(RequestLog),
        Middleware(SecurityHeaders, page_policy=policy, https=public.scheme == "https"),
        Middleware(KnownHosts, allowed=config.server.allowed_hosts, public=public.hostname or ""),
        Middleware(BodyLimit, max_bytes=config.server.max_body_bytes),
        Middleware(LastResort),
    ]


@asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[None]:
    services: Services = app.state.services
    await run_in_threadpool(services.cache.distrust)
    anyio.to_thread.current_default_thread_limiter().total_tokens = services.config.server.threads
    try:
        async with app.origin.running(), tidying.running(services):
            yield
    finally:
        await services.kv.aclose()
        close_services(services)
