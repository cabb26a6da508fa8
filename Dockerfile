# The commands of geosim without training: `docker build -t geosim . && docker run geosim --help`.
FROM python:3.12-slim-bookworm

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY trainer trainer
COPY ingest ingest
COPY search search
RUN pip install --no-cache-dir . && rm -r /src/*

RUN useradd --create-home geosim
USER geosim
WORKDIR /home/geosim
ENTRYPOINT ["geosim"]
