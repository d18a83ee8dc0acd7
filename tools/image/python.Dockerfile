# Stands in for python:3.13-slim: Python and pip in /usr/local/bin, and no bytecode.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates libstdc++6 netbase python3 python3-venv tzdata \
    && apt-get clean \
    && rm -r /var/lib/apt/lists/* /usr/lib/python3.13/EXTERNALLY-MANAGED \
    && pip=$(echo /usr/share/python-wheels/pip-*.whl) \
    && python3 "$pip/pip" install --no-index --root-user-action=ignore "$pip" \
    && ln -s /usr/bin/python3 /usr/local/bin/python3 \
    && ln -s python3 /usr/local/bin/python \
    && find / -xdev -name __pycache__ -prune -exec rm -r {} +
CMD ["python3"]
