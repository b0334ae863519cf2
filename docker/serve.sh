#!/bin/sh
# Serves $PACKSHOT_REPOSITORY: a directory, or s3://… . Arguments go to the server that is started.
set -eu
: "${PACKSHOT_REPOSITORY:?a directory or s3://BUCKET/PATH}"
case "$PACKSHOT_REPOSITORY" in
  *://*)
    # Triton fetches it itself, so there are no files whose hashes `packshot serve` could check.
    # The flags are those of packshot_serving.launcher.
    exec tritonserver \
      --model-repository="$PACKSHOT_REPOSITORY" \
      --cache-config=local,size=268435456 \
      --cuda-memory-pool-byte-size=0:0 \
      --backend-config=tensorrt,version-compatible=true \
      --disable-auto-complete-config \
      "$@"
    ;;
  *)
    exec python3 -m packshot serve --repository "$PACKSHOT_REPOSITORY" --bind 0.0.0.0 "$@"
    ;;
esac
