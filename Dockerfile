# The broker in a container: Python, the package and nothing else; a user without rights, by number; a root that may be
# read-only. docs/guides/running.md says how to use it.
#
# It refuses to start unless somebody says who may connect, as the broker does everywhere beyond loopback.
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /src
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml hatch_build.py hatch_ui.py README.md LICENSE ./
COPY broker broker
# Compiled and with the dashboard, or the build fails. Neither pip nor a compiler nor Node, which pip brings for the
# dashboard, comes along into the image.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/triomq \
    && BROKER_BUILD=compiled BROKER_UI=require pip --python /opt/triomq/bin/python install --no-cache-dir '.[jwt,http,certs]'

FROM ${PYTHON}
LABEL org.opencontainers.image.title="TrioMQ" \
      org.opencontainers.image.description="An MQTT 3.1, 3.1.1 and 5.0 broker over WebSocket and TCP" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/triomq /opt/triomq
RUN install --directory --owner 10001 --group 10001 --mode 700 /data
ENV PATH=/opt/triomq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BROKER_STORE__PATH=/data
USER 10001:10001
VOLUME /data
EXPOSE 1883 8080
STOPSIGNAL SIGTERM
# It finds the broker's process and asks at one of its listeners, whichever they are.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["broker", "health"]
CMD ["broker", "serve", "--bind", "tcp://0.0.0.0:1883", "--bind", "ws://0.0.0.0:8080"]
