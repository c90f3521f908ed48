# The layer as a container image, for functions that are deployed as images, and the layer's zip for all others.
#
#   docker build --target layer -t logferry .            Builds the image. The Dockerfile of the function needs one line:
#                                                        COPY --from=logferry /opt/ /opt/
#   docker build --target zip --output . .               Writes logferry-layer-<arch>.zip into this folder.
#   docker build --target test --build-arg BASE_IMAGE=…  Tests whether the layer starts in the function's base image.
#
# The same /opt works in every base image (Debian, Alpine, distroless or scratch), because it contains an interpreter and
# a C library. `--platform linux/arm64` builds for the other architecture. `--build-arg OPTIONS=--slim` leaves out the
# AWS SDK.

ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

# The layer contains the interpreter of this image.
FROM ${PYTHON_IMAGE} AS build
ARG OPTIONS=
WORKDIR /logferry
COPY pyproject.toml README.md LICENSE ./
COPY .requirements/ .requirements/
COPY extension/ extension/
COPY src/ src/
# The tools are installed and removed in one step, so that the image does not contain them. `uname -m` is the
# architecture of the image and not of the machine that builds it.
RUN python3 -m venv /tmp/tools \
    && /tmp/tools/bin/pip install --quiet --no-cache-dir '.[layer]' \
    && case "$(uname -m)" in aarch64) arch=arm64 ;; *) arch="$(uname -m)" ;; esac \
    && /tmp/tools/bin/logferry layer build --output /out --arch "$arch" \
        --interpreter "$(python3 -c 'import sys; print(sys.base_prefix)')" $OPTIONS \
    && rm -rf /tmp/tools

FROM scratch AS layer
COPY --from=build /out/opt/ /opt/

FROM scratch AS zip
COPY --from=build /out/*.zip /

# The command runs without a shell, because the base image may have none.
FROM ${BASE_IMAGE} AS test
COPY --from=layer /opt/ /opt/
RUN ["/opt/logferry/bin/python3.13", "-I", "-S", "-B", "-X", "utf8", "-c", "import sys; sys.path.append('/opt/logferry/site'); import asyncio, ssl, httptools, structlog, logferry.shipper.lifecycle, logferry.supervisor.supervisor; print('logferry starts in this image')"]
