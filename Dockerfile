# The steps live in docker/install and docker/start, which also run (and are tried) without a container.
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN docker/install /opt/tidemark

FROM python:3.11-slim
RUN useradd --system --create-home --home-dir /var/lib/tidemark tidemark
COPY --from=build /opt/tidemark /opt/tidemark
COPY docker/start /opt/tidemark/docker/start
ENV PATH=/opt/tidemark/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TIDEMARK_VAR=/var/lib/tidemark
USER tidemark
WORKDIR /var/lib/tidemark
VOLUME /var/lib/tidemark
EXPOSE 8000
ENTRYPOINT ["/opt/tidemark/docker/start"]
