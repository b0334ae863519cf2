# The exporter: checkpoints → ONNX → TensorRT plans for the GPU that it runs on.
#   docker compose --file docker/compose.yaml --profile export build export
ARG NVIDIA_RELEASE
FROM nvcr.io/nvidia/tensorrt:${NVIDIA_RELEASE} AS packages

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY client client
COPY export export
COPY serving serving
COPY benchmarks benchmarks
# In an environment of its own that sees the image's tensorrt. The proof of parity runs on the CPU.
# Without pip in it, which Ubuntu's venv has in a package of its own.
RUN python3 -m venv --without-pip --system-site-packages /opt/packshot \
 && python3 -m pip --python /opt/packshot/bin/python install --no-cache-dir --constraint constraints.txt '.[export]'

FROM nvcr.io/nvidia/tensorrt:${NVIDIA_RELEASE}

COPY --from=packages /opt/packshot /opt/packshot
ENV PATH=/opt/packshot/bin:${PATH} \
    HF_HOME=/cache/huggingface
RUN useradd --uid 1001 --create-home packshot \
 && mkdir -p /cache /repositories \
 && chown packshot /cache /repositories
USER 1001:1001
VOLUME /cache /repositories
# It ends with its work: there is no service whose health could be asked for.
HEALTHCHECK NONE
# NVIDIA's own first: it makes newer CUDA run on older drivers.
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", "packshot", "export"]
CMD ["--help"]
