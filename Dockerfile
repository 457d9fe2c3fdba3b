# The services. Targets: cpu (the default stack) and cuda. Built on any Debian or Ubuntu with Python 3.11
# or 3.12 and its venv module: --build-arg BASE=... The usual index gives torch with CUDA, gigabytes of
# it; --build-arg PIP_EXTRA_INDEX_URL=... names one that has the build for the CPU.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/streamvlm
ENV PATH=/opt/streamvlm/bin:$PATH
WORKDIR /src
COPY pyproject.toml README.md constraints.txt ./

FROM build AS build-cpu
ARG PIP_EXTRA_INDEX_URL
RUN pip install -c constraints.txt torch
COPY streamvlm streamvlm
COPY services services
RUN pip install -c constraints.txt '.[cpu]'

FROM build AS build-cuda
RUN pip install -c constraints.txt torch
COPY streamvlm streamvlm
COPY services services
RUN pip install '.[gpu]'

FROM ${BASE} AS runtime
RUN useradd --system --uid 10001 --home-dir /nonexistent streamvlm \
    && install -d -o streamvlm -m 700 /data
ENV PATH=/opt/streamvlm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE \
    HF_HUB_OFFLINE=1
USER 10001
EXPOSE 50051
STOPSIGNAL SIGTERM
ENTRYPOINT ["streamvlm"]
CMD ["serve"]

FROM runtime AS cuda
COPY --from=build-cuda /opt/streamvlm /opt/streamvlm

FROM runtime AS cpu
COPY --from=build-cpu /opt/streamvlm /opt/streamvlm
