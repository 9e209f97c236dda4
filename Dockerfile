# syntax=docker/dockerfile:1

# The builder and the final image have the same Debian version, because the binary needs the glibc
# version of its builder.
FROM rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# The target directory is a cache and not part of the image, so `cp` copies the binary out of it. Each architecture has its
# own cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=assent-target-$TARGETARCH \
    cargo build --release --locked --package assent --bin assent \
    && cp target/release/assent /assent

# This image has glibc, libgcc and certificates, but no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Assent" \
      org.opencontainers.image.source="https://github.com/assent-dev/assent" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /assent /assent
# The user must be a number, because Kubernetes cannot check runAsNonRoot for a user name.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/assent"]
