"""A client for every test of tus."""

import pytest

from tests.streamer.ingest.tus.client import Tus
from tests.streamer.site_under_test import Site


@pytest.fixture
def tus(site: Site) -> Tus:
    return Tus(site.as_("editor"))
