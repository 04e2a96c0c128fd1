# An agent in a container: built in one stage, run in another that holds nothing but Python and the installed wheels.
#
#   docker build --tag agentd .
#   docker run --name kitchen --publish 46101:46101 --publish 46102:46102 --volume agentd-state:/var/lib/agentd \
#       --volume "$PWD:/code:ro" --stop-timeout 40 agentd --hostname kitchen --rest-name 192.0.2.7
#
# Both ports are open to others, since a container's own loopback reaches nobody: over TLS 1.3, for people with a token
# and for agents that were paired. The key, the certificate and a first token are made at the first start; the token is
# printed to the container's log, this once. --rest-name is the name or address by which people reach the machine. To
# let a person or an agent in:
#
#   docker exec kitchen agentd invite --user ann --address 192.0.2.7     then `agentd login STRING` at Ann's
#   docker exec kitchen agentd invite --address 192.0.2.7                then `agentd join STRING` on the other device
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
    && useradd --system --uid 10001 --gid agentd --home-dir /home/agentd --create-home --shell /usr/sbin/nologin agentd \
    && install --directory --owner agentd --group agentd --mode 0700 /var/lib/agentd
COPY --from=build /opt/agentd /opt/agentd
ENV PATH=/opt/agentd/bin:$PATH \
    AGENTD_STATE=/var/lib/agentd \
    AGENTD_REST_HOST=0.0.0.0 \
    AGENTD_REST_TLS=true \
    AGENTD_COMM_HOST=0.0.0.0 \
    AGENTD_FIRST_TOKEN=true \
    PYTHONUNBUFFERED=1
# Key, tokens, peers, journal, objects, logs: all that outlives the container.
VOLUME ["/var/lib/agentd"]
# By number, so that an orchestrator sees without looking inside that it is not root.
USER 10001:10001
# Users' code is found in the current folder: mount it here, or name others with --pythonpath.
WORKDIR /code
# REST for users, Comm for other agents.
EXPOSE 46101 46102
# Of the agent's own certificate nothing is to be learnt here: it is asked whether it lives, on its own loopback.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import ssl; from urllib.request import HTTPSHandler, ProxyHandler, build_opener; build_opener(ProxyHandler({}), HTTPSHandler(context=ssl._create_unverified_context())).open('https://127.0.0.1:46101/health', timeout=4)"]
ENTRYPOINT ["agentd", "start"]
