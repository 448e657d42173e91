# The two programs, static, on nothing at all: no shell, no libc, no /dev of our own. Names are looked up with the engine's /etc/hosts and
# /etc/resolv.conf; the CA bundle is the builder's. compose.yaml shows how both run.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make libc6-dev libsqlite3-dev libssl-dev ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make STATIC=yes server agent && strip server agent && mkdir -m 0700 /data

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/server /onlyonce-server
COPY --from=build /src/agent /onlyonce-agent
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /data
VOLUME /data

FROM base AS agent
ENTRYPOINT ["/onlyonce-agent"]

FROM base AS server
EXPOSE 3000
ENTRYPOINT ["/onlyonce-server"]
