# The layer as a container image, for functions that are deployed as images, and the layer's zip for all others.
#
#   docker build --target layer -t logferry .            then, in the function's own Dockerfile, one line:
#                                                        COPY --from=logferry /opt/ /opt/
#   docker build --target zip --output . .               leaves logferry-layer-<arch>.zip in this folder
#   docker build --target test --build-arg BASE_IMAGE=…  shows that it starts in the function's base image
#
# Whatever the function's base image is, Debian, Alpine, distroless or scratch, the same /opt serves: it brings its own
# interpreter and C library. `--platform linux/arm64` builds for the other architecture.

ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

# The interpreter that is bundled is this image's own.
FROM ${PYTHON_IMAGE} AS build
WORKDIR /logferry
COPY pyproject.toml README.md LICENSE ./
COPY .requirements/ .requirements/
COPY extension/ extension/
COPY src/ src/
# The tools go in the same step that needs them, and leave nothing in the image. `uname -m` is the image's architecture,
# whichever one builds it.
RUN python3 -m venv /tmp/tools \
    && /tmp/tools/bin/pip install --quiet --no-cache-dir --editable '.[cli,layer]' \
    && case "$(uname -m)" in aarch64) arch=arm64 ;; *) arch="$(uname -m)" ;; esac \
    && /tmp/tools/bin/logferry layer build --output /out --arch "$arch" \
        --interpreter "$(python3 -c 'import sys; print(sys.base_prefix)')" \
    && rm -rf /tmp/tools

FROM scratch AS layer
COPY --from=build /out/opt/ /opt/

FROM scratch AS zip
COPY --from=build /out/*.zip /

# Started without a shell, as the base image may have none.
FROM ${BASE_IMAGE} AS test
COPY --from=layer /opt/ /opt/
RUN ["/opt/logferry/bin/python3.13", "-I", "-S", "-B", "-X", "utf8", "-c", "import sys; sys.path.append('/opt/logferry/site'); import asyncio, ssl, aioboto3, httptools, structlog, logferry.supervisor.supervisor; print('logferry starts in this image')"]
