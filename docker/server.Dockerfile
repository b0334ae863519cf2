# The server: NVIDIA's tritonserver with packshot's Python models.
#   docker compose --file docker/compose.yaml build server
ARG NVIDIA_RELEASE
FROM nvcr.io/nvidia/tritonserver:${NVIDIA_RELEASE} AS packages

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY client client
COPY export export
COPY serving serving
COPY benchmarks benchmarks
# Not the extra "serve": it brings the wheel's own tritonserver, and ONNX Runtime for CPUs.
# Triton's Python models run in the image's own Python, which finds this directory by PYTHONPATH.
RUN pip install --no-cache-dir --constraint constraints.txt --target /opt/packshot \
      . 'numpy<2' tokenizers onnxruntime-gpu

# TensorRT's Python module, for the denoiser's plans; its libraries are in tritonserver's image of that release.
FROM nvcr.io/nvidia/tensorrt:${NVIDIA_RELEASE} AS tensorrt

RUN cp -r "$(python3 -c 'import tensorrt; print(tensorrt.__path__[0])')" /tensorrt

FROM nvcr.io/nvidia/tritonserver:${NVIDIA_RELEASE}

COPY --from=tensorrt /tensorrt /opt/packshot/tensorrt
COPY --from=packages /opt/packshot /opt/packshot
COPY --chmod=755 docker/serve.sh /usr/local/bin/packshot-serve
ENV PYTHONPATH=/opt/packshot \
    PATH=/opt/packshot/bin:${PATH} \
    PACKSHOT_REPOSITORY=/models
# triton-server in NVIDIA's image. A number, so that Kubernetes can tell that it is not root.
USER 1000:1000
VOLUME /models
EXPOSE 8000 8001 8002
# Full-size models take minutes to load and to measure.
HEALTHCHECK --start-period=10m --interval=15s --timeout=5s --retries=4 \
  CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://localhost:8000/v2/health/ready', timeout=4)"]
# NVIDIA's own first: it makes newer CUDA run on older drivers.
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh", "/usr/local/bin/packshot-serve"]
