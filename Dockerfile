# The server with its model, for CPUs. As printed in the book:
#   docker build -t sentiment-app:latest .
# With another model inside, so that its pods need no network:
#   docker build -t sentiment-app:latest --build-arg MODEL=owner/name .
ARG BASE_IMAGE=python:3.13-slim
# Where packages are installed; another one where a proxy asks for its own certificate or index.
ARG BUILD_IMAGE=$BASE_IMAGE

FROM $BUILD_IMAGE AS dependencies
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.txt ./
# pip stays outside the environment. What a server never reads is dropped (70 MB): tests, types,
# sources of compiled modules, and of ONNX Runtime its tools and its library for C programs, which
# the Python module has built in. Bytecode is made here: a read-only root file system keeps none.
RUN python -m venv --without-pip /opt/sentiment \
    && pip --python /opt/sentiment/bin/python install --require-hashes --only-binary :all: \
        --requirement requirements.txt \
    && find /opt/sentiment -type d -name tests -prune -exec rm -r {} + \
    && find /opt/sentiment -regex '.*\.\(c\|h\|pxd\|pxi\|pyi\|pyx\)' -delete \
    && cd /opt/sentiment/lib/python3*/site-packages/onnxruntime \
    && rm -r capi/libonnxruntime.so.* quantization tools transformers \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/sentiment

# Apart from its dependencies: what changes most is the smallest layer.
FROM dependencies AS package
# Compiles the encoder (native/encoder.c) and stays behind; a BUILD_IMAGE with gcc needs no mirror.
RUN command -v gcc >/dev/null \
    || { apt-get update -qq \
        && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends gcc libc6-dev; }
COPY tools/image/requirements-build.txt ./
RUN pip install --require-hashes --only-binary :all: --requirement requirements-build.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN hatchling build --target wheel \
    && pip --python /opt/sentiment/bin/python install --root /package --no-deps dist/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash /package

FROM package AS model
ARG MODEL
ARG MODEL_REVISION
ARG MODEL_FILE
ARG HF_ENDPOINT
ENV HF_HOME=/opt/hub SENTIMENT_REVISION=$MODEL_REVISION SENTIMENT_MODEL_FILE=$MODEL_FILE
RUN mkdir /opt/hub \
    && if [ -n "$MODEL" ]; then \
        cp -r /package/. / && /opt/sentiment/bin/sentiment model pull "$MODEL"; \
    fi

FROM $BASE_IMAGE
# The official image has pip, which nobody calls here, and no bytecode of Python's own library,
# without which a start takes 0.8 s longer.
RUN pip uninstall --yes --root-user-action ignore pip \
    && python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(ensurepip|idlelib|pydoc_data|tkinter|turtledemo)/' \
        "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && install --directory --mode=0770 --owner=10001 /var/spool/sentiment
COPY --from=dependencies /opt/sentiment /opt/sentiment
COPY --from=model /opt/hub /opt/hub
COPY --from=package /package/ /
ARG MODEL
ARG MODEL_REVISION
# A model that was baked in is not looked for on the hub. Rows wait in the spool while PostgreSQL is
# away: a volume there keeps them also when the container is removed, or its root is read-only.
ENV PATH=/opt/sentiment/bin:$PATH \
    SENTIMENT_HOST=0.0.0.0 \
    SENTIMENT_SPOOL_DIR=/var/spool/sentiment \
    SENTIMENT_MODEL=$MODEL SENTIMENT_REVISION=$MODEL_REVISION \
    HF_HOME=/opt/hub HF_HUB_OFFLINE=${MODEL:+1}
ARG VERSION=1.0.0
ARG REVISION
LABEL org.opencontainers.image.title="sentiment-k8s" \
    org.opencontainers.image.description="Text classification in production on plain CPUs" \
    org.opencontainers.image.source="https://github.com/sentiment-k8s/sentiment-k8s" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION
USER 10001
EXPOSE 8000
# Kubernetes has its own probes: /health/live and /health/ready.
HEALTHCHECK NONE
# Without a shell: the server is the first process and gets SIGTERM itself.
ENTRYPOINT ["sentiment"]
CMD ["serve"]
