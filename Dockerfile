# syntax=docker/dockerfile:1

# Builder and final image are of the same Debian: the binary is linked against the glibc of the one
# and runs on that of the other.
FROM rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
# The target directory is a cache, one for each architecture, so the binary is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=assent-target-$TARGETARCH \
    cargo build --release --locked --package assent --bin assent \
    && cp target/release/assent /assent

# No shell and no package manager; glibc, libgcc and certificates.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Assent" \
      org.opencontainers.image.source="https://github.com/assent-dev/assent" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /assent /assent
# As a number: Kubernetes does not take a name's word for runAsNonRoot.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/assent"]
