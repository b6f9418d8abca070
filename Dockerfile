# syntax=docker/dockerfile:1
# The whole server in one image: `docker run -p 8000:8000 -v films:/data IMAGE` starts the embedded stack. The same image
# runs one part of a larger installation with another command: `web`, `worker`, `scheduler` (see docs/operations.md).

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/streamer
# The locks first: this layer is rebuilt only when a dependency changes.
COPY requirements.lock requirements-build.lock ./
RUN /opt/streamer/bin/pip install --require-hashes -r requirements.lock \
 && python -m pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY storage storage
COPY packager packager
COPY streamer streamer
COPY admin admin
RUN python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /dist . \
 && /opt/streamer/bin/pip install --no-deps --no-index /dist/*.whl

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin streamer \
 && install --directory --owner=streamer --group=streamer --mode=0750 /data
# The venv has the same path in both stages, so its scripts still find their interpreter.
COPY --from=build /opt/streamer /opt/streamer
ENV PATH=/opt/streamer/bin:$PATH PYTHONUNBUFFERED=1
USER streamer
WORKDIR /data
VOLUME /data
EXPOSE 8000
# A first start migrates the database; encodes never slow the web process's answer.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["streamer"]
CMD ["up", "--data", "/data", "--host", "0.0.0.0"]
