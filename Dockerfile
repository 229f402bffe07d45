# syntax=docker/dockerfile:1
# The toolkit without an engine: validates, renders, and measures what a URL or a cluster serves.
#
# NOT BUILT HERE: this file was written where no container engine could run it. What it
# does outside of a container (wheel, constraints, entry point) is covered by tests/packaging.
#
#   docker build -t kserve-bench .
#   docker run --rm -v "$PWD/runs:/home/bench/runs" kserve-bench --url http://host:8000 --model NAME

FROM python:3.13.14-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/kserve-bench
WORKDIR /src
# The dependencies first: they change less often than the code.
COPY requirements.lock ./
RUN /opt/kserve-bench/bin/pip install --requirement requirements.lock
COPY . .
RUN /opt/kserve-bench/bin/pip install --constraint requirements.lock .

FROM python:3.13.14-slim-trixie
RUN useradd --uid 10001 --create-home bench
COPY --from=build /opt/kserve-bench /opt/kserve-bench
ENV PATH=/opt/kserve-bench/bin:$PATH PYTHONUNBUFFERED=1
# A number, so that Kubernetes can check runAsNonRoot.
USER 10001
WORKDIR /home/bench
ENTRYPOINT ["kserve-bench"]
