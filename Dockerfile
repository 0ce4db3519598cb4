# syntax=docker/dockerfile:1
FROM debian:13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        cmake gcc libc6-dev ninja-build pkg-config \
        libcurl4-openssl-dev libjansson-dev libmicrohttpd-dev libmimalloc-dev libpq-dev librdkafka-dev libssl-dev \
        libuv1-dev uthash-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN cmake -S /src -B /build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr -DBUILD_TESTING=OFF \
    && cmake --build /build \
    && DESTDIR=/image cmake --install /build --strip

FROM debian:13-slim
# curl answers the health checks; ca-certificates judges https endpoints.
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates curl \
        libcurl4t64 libjansson4 libmicrohttpd12t64 libmimalloc3 libpq5 librdkafka1 libssl3t64 libuv1t64 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin hookcast
COPY --from=build /image/ /
USER hookcast
ENV HOOKCAST_API_LISTEN=0.0.0.0:8080 HOOKCAST_METRICS_LISTEN=0.0.0.0:9464
EXPOSE 8080 9464
ENTRYPOINT ["hookcast"]
CMD ["serve"]
