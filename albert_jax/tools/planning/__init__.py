"""Train steps compiled for TPUs and GPUs on a machine without one. Import it before JAX: see below."""

import os

# libtpu looks for a TPU's machine and reports what it misses, unless it is told before it is loaded.
os.environ.update(
  JAX_PLATFORMS="cpu",
  TPU_SKIP_MDS_QUERY="1",
  ALLOW_MULTIPLE_LIBTPU_LOAD="1",  # nobody holds a chip here, so plans may run side by side
  TPU_ACCELERATOR_TYPE="v5litepod-4",
  TPU_WORKER_HOSTNAMES="localhost",
  TPU_WORKER_ID="0",
  TPU_STDERR_LOG_LEVEL="3",
  TPU_MIN_LOG_LEVEL="3",
  TF_CPP_MIN_LOG_LEVEL="3",
)
