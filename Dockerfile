# The broker in a container: nothing but Python and the package, a user without rights, no shell needed to start it.
#   docker build -t triomq . && docker run --rm -p 127.0.0.1:1883:1883 -p 127.0.0.1:8080:8080 triomq
FROM python:3.13-slim AS build
WORKDIR /src
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY broker broker
RUN python -m venv /opt/triomq && BROKER_BUILD=compiled /opt/triomq/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/triomq /opt/triomq
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin triomq \
    && install --directory --owner triomq --group triomq --mode 700 /data
USER 10001
ENV PATH=/opt/triomq/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 1883 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
# Inside, every interface is the container's own: who may reach it is said where its ports are published.
CMD ["broker", "serve", "--allow-anonymous", "--bind", "tcp://0.0.0.0:1883", "--bind", "ws://0.0.0.0:8080"]
