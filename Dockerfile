# An agent in a container: built in one stage, run in another that holds nothing but Python and the installed wheels.
#
#   docker build --tag agentd .
#   docker run --rm --publish 46101:46101 --publish 46102:46102 --volume agentd-state:/var/lib/agentd \
#       --volume "$PWD:/code:ro" --stop-timeout 40 \
#       agentd --hostname kitchen --rest-host 0.0.0.0 --comm-host 0.0.0.0 --insecure
#
# The image does not open itself to others: without options both ports listen on the container's own loopback, which
# nobody outside of it reaches. TLS and a token that are made at the first start will come; until then whoever wants
# the ports reachable says so with --rest-host, --comm-host and --insecure, as above, and only where everybody who can
# reach them may run code.
#
# A stop gives running tasks 30 s: docker's own 10 s are too short for it, hence --stop-timeout.

# Programs that send functions by value need the same minor version of Python as the agent: --build-arg PYTHON=3.12
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY agentd agentd
COPY cli cli
COPY schedulers schedulers
COPY resources_xml resources_xml
# Only wheels: nothing is compiled, on x86-64 and on aarch64 alike, so that no compiler is needed.
RUN python -m pip wheel --no-cache-dir --only-binary :all: --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/agentd \
    && python -m pip --python /opt/agentd/bin/python install --no-cache-dir --no-index --find-links /wheels agentd

FROM python:${PYTHON}-slim
RUN groupadd --system --gid 10001 agentd \
    && useradd --system --uid 10001 --gid agentd --home-dir /var/lib/agentd --shell /usr/sbin/nologin agentd \
    && install --directory --owner agentd --group agentd --mode 0700 /var/lib/agentd
COPY --from=build /opt/agentd /opt/agentd
ENV PATH=/opt/agentd/bin:$PATH \
    AGENTD_STATE=/var/lib/agentd \
    PYTHONUNBUFFERED=1
# Tokens, journal, objects, logs: all that outlives the container.
VOLUME ["/var/lib/agentd"]
# By number, so that an orchestrator sees without looking inside that it is not root.
USER 10001:10001
# Users' code is found in the current folder: mount it here, or name others with --pythonpath.
WORKDIR /code
# REST for users, Comm for other agents.
EXPOSE 46101 46102
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:46101/health', timeout=4)"]
ENTRYPOINT ["agentd", "start"]
