"""Excerpts of real start-up logs: vLLM 0.32.0 on a CPU, 0.19 and later on GPUs."""

BANNER = """\
(APIServer pid=5504) INFO 11-21 05:34:33 [api_utils.py:347]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0
(APIServer pid=5504) INFO 11-21 05:34:40 [model.py:2152] Using max model len 2048
"""

CPU = (
    BANNER
    + """\
(EngineCore pid=5555) INFO 11-21 05:34:46 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='t'
(Worker pid=5577) INFO 11-21 05:34:53 [weight_utils.py:1108] Filesystem type for checkpoints: EXT4. Checkpoint size: 0.05 GiB. Available RAM: 21.91 GiB.
(Worker pid=5577) INFO 11-21 05:34:54 [default_loader.py:501] Loading weights took 0.18 seconds
(Worker pid=5577) INFO 11-21 05:34:54 [cpu_model_runner.py:75] Loading drafter model...
(Worker pid=5577) INFO 11-21 05:34:54 [weight_utils.py:1108] Filesystem type for checkpoints: EXT4. Checkpoint size: 0.02 GiB. Available RAM: 21.82 GiB.
(Worker pid=5577) INFO 11-21 05:34:54 [default_loader.py:501] Loading weights took 0.06 seconds
(Worker pid=5577) INFO 11-21 05:34:55 [cpu_worker.py:260] Explicitly set (1.0/7.46) GiB for KV cache on node 0.
(EngineCore pid=5555) INFO 11-21 05:34:55 [kv_cache_utils.py:2327] CPU KV cache size: 52,352 tokens, Maximum concurrency for 2,048 tokens per request: 25.56x
(EngineCore pid=5555) INFO 11-21 05:34:58 [core.py:402] init engine (profile, create kv cache, warmup model) took 3.24 s
"""
)

GPU = """\
(EngineCore pid=88) INFO 05-06 20:59:21 [core.py:105] Initializing a V1 LLM engine (v0.19.1) with config: model='m'
(Worker_TP0 pid=34322) INFO 05-06 20:59:57 [default_loader.py:384] Loading weights took 24.84 seconds
(Worker_TP0 pid=34322) INFO 05-06 20:59:59 [gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.657031 seconds
(Worker_TP0 pid=34322) INFO 05-06 21:00:40 [gpu_worker.py:475] Available KV cache memory: 38.41 GiB
(EngineCore pid=88) INFO 05-06 21:00:40 [kv_cache_utils.py:1733] GPU KV cache size: 559,232 tokens
(EngineCore pid=88) INFO 05-06 21:00:40 [kv_cache_utils.py:1734] Maximum concurrency for 8,192 tokens per request: 68.27x
(EngineCore pid=88) INFO 05-06 21:00:49 [core.py:281] init engine (profile, create kv cache, warmup model) took 9.38 s (compilation: 4.10 s)
"""

ARGPARSE = """\
usage: api_server.py [-h] [--headless] [--api-server-count API_SERVER_COUNT]
                     [--enable-log-requests | --no-enable-log-requests]
                     [model_tag]
api_server.py: error: unrecognized arguments: --no-such-flag
"""

VALIDATION = """\
Traceback (most recent call last):
  File "pydantic/_internal/_dataclasses.py", line 121, in __init__
    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs), self_instance=s)
pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig
  Value error, num_speculative_tokens was provided but without speculative model. [type=value_error, input_value=ArgsKwargs((), {'method':...very_timeout_sec=120))}), input_type=ArgsKwargs]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""

UNKNOWN_KEY = """\
pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig
acceptance_method
  Unexpected keyword argument [type=unexpected_keyword_argument, input_value='x', input_type=str]
    For further information visit https://errors.pydantic.dev/2.14/v/unexpected_keyword_argument
"""

MEMORY = """\
(EngineCore pid=19228) ERROR 11-21 06:02:12 [core.py:1510] EngineCore failed to start.
(EngineCore pid=19228) ERROR 11-21 06:02:12 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=19228) ERROR 11-21 06:02:12 [core.py:1510]     raise RuntimeError(
(EngineCore pid=19228) ERROR 11-21 06:02:12 [core.py:1510] RuntimeError: Worker failed with error 'Available memory on node 0 (6.28/7.84 GiB) on kv cache allocation is less than requested memory for kv (4000.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.', please check the stack trace above for the root cause
(EngineCore pid=19228) ERROR 11-21 06:02:14 [multiproc_executor.py:315] Worker proc VllmWorker-0 died unexpectedly (exit code: 0), shutting down executor.
(APIServer pid=19100)   File "vllm/v1/engine/utils.py", line 1201, in wait_for_engine_startup
(APIServer pid=19100)     raise RuntimeError(
(APIServer pid=19100) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""

GPU_MEMORY = """\
(EngineCore_DP0 pid=311) ERROR 03-02 10:11:12 [core.py:866] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of 23.53 GiB of which 127.31 MiB is free.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""

BROKEN_WEIGHTS = """\
(Worker pid=17142) ERROR 11-21 05:59:55 [multiproc_executor.py:953]     with safe_open(st_file, framework="pt") as f:
(Worker pid=17142) ERROR 11-21 05:59:55 [multiproc_executor.py:953] safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered
(EngineCore pid=17100) ERROR 11-21 05:59:57 [core.py:1510] Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""

NO_MODEL = """\
  File "huggingface_hub/_snapshot_download.py", line 382, in snapshot_download
    raise LocalEntryNotFoundError(
huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the specified revision on the local disk and outgoing traffic has been disabled. To enable repo look-ups and downloads online, pass 'local_files_only=False' as input.
"""

PORT = """\
  File "vllm/entrypoints/launchers/launcher.py", line 348, in create_server_socket
    sock.bind(addr)
OSError: [Errno 98] Address already in use
"""
