"""Stories of containers that end, again and again, and why."""

from tests.kube.stories import (
    DOWNLOAD_LOG,
    ENGINE_START_LOG,
    REFUSED,
    START_S,
    scheduled,
    up_to_start,
)
from tests.kube.timeline import INITIALIZER, SERVING, Expected, Scenario, Step


def crashes(
    container: str, begin_s: float, life_s: float, log: str, reason: str, code: int
) -> tuple[Step, ...]:
    """Starts, dies, waits ever longer: four lives."""
    steps: list[Step] = []
    at_s = begin_s
    for wait_s, shown in ((10, "10s"), (20, "20s"), (40, "40s"), (80, "1m20s")):
        steps.append(Step(at_s, "started", container))
        steps.append(Step(at_s + 0.8 * life_s, "log", container, log))
        steps.append(Step(at_s + life_s, "died", container, reason=reason, code=code))
        steps.append(Step(at_s + life_s + 1.0, "back_off", container, shown))
        at_s += life_s + wait_s
    return tuple(steps)


DOWNLOAD_FAILED_LOG = (
    DOWNLOAD_LOG
    + "\nTraceback (most recent call last):\n"
    + '  File "/storage-initializer/scripts/initializer-entrypoint", line 15, in <module>\n'
    + "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. Repository Not Found "
    + "for url: https://huggingface.co/api/models/Qwen/Qwen2.5-7B-Instruct/revision/main."
)
DOWNLOAD_FAILED = Scenario(
    "download-failed",
    "The storage initializer is not let in by the model hub.",
    ((*scheduled(), *crashes(INITIALIZER, 2.0, 6.0, DOWNLOAD_FAILED_LOG, "Error", 1)),),
    Expected(None, ("storage-initializer", "Repository Not Found"), ("BackOff",), 25.0),
)

DOWNLOAD_OOM = Scenario(
    "download-oom",
    "The storage initializer needs more than its 1Gi.",
    ((*scheduled(), *crashes(INITIALIZER, 2.0, 30.0, DOWNLOAD_LOG, "OOMKilled", 137)),),
    Expected(None, ("storage-initializer", "OOMKilled", "1Gi"), ("BackOff",), 33.0),
)

MODEL_OOM = Scenario(
    "model-oom",
    "The engine's container exceeds its memory limit while it loads.",
    (
        (
            *up_to_start(),
            *crashes(SERVING, START_S, 25.0, ENGINE_START_LOG, "OOMKilled", 137),
        ),
    ),
    Expected(None, ("OOMKilled", SERVING, "limit"), ("BackOff",), START_S + 25.0),
)

ENGINE_ERROR_LOG = (
    ENGINE_START_LOG
    + "\nERROR 01-01 00:01:40 [core.py:866] EngineCore failed to start.\n"
    + "Traceback (most recent call last):\n"
    + '  File "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py", line 857, in '
    + "run_engine_core\n"
    + "ValueError: To serve at least one request with the models's max seq len (131072), (16.0 "
    + "GiB KV cache is needed, which is larger than the available KV cache memory (9.21 GiB). "
    + "Based on the available memory, the estimated maximum model length is 75440. Try "
    + "increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the "
    + "engine."
)
ENGINE_CRASHES = Scenario(
    "engine-crashes",
    "The engine refuses its arguments: CrashLoopBackOff.",
    ((*up_to_start(), *crashes(SERVING, START_S, 30.0, ENGINE_ERROR_LOG, "Error", 1)),),
    Expected(None, ("max_model_len", "KV cache"), ("BackOff",), START_S + 31.0),
)

GPU_MEMORY_LOG = (
    ENGINE_START_LOG
    + "\nERROR 01-01 00:01:44 [core.py:866] EngineCore failed to start.\n"
    + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total "
    + "capacity of 23.64 GiB of which 987.56 MiB is free."
)
GPU_MEMORY = Scenario(
    "gpu-memory",
    "The weights do not fit into the GPU.",
    ((*up_to_start(), *crashes(SERVING, START_S, 40.0, GPU_MEMORY_LOG, "Error", 1)),),
    Expected(None, ("CUDA out of memory",), ("BackOff",), START_S + 41.0),
)

DISK_FULL_LOG = (
    DOWNLOAD_LOG
    + "\nTraceback (most recent call last):\n"
    + "OSError: [Errno 28] No space left on device"
)
DISK_FULL = Scenario(
    "disk-full",
    "The model does not fit on the node's disk.",
    ((*scheduled(), *crashes(INITIALIZER, 2.0, 90.0, DISK_FULL_LOG, "Error", 1)),),
    Expected(None, ("storage-initializer", "No space left on device"), ("BackOff",), 110.0),
)


def killed_loading(begin_s: float, budget_s: float, lives: int) -> tuple[Step, ...]:
    """The startup probe's budget ends before the model is loaded, again and again."""
    steps = [Step(begin_s, "started")]
    for life in range(lives):
        at_s = begin_s + life * budget_s
        steps.append(Step(at_s + 5.0, "log", text=ENGINE_START_LOG))
        for share in (0.2, 0.5, 0.8):
            said = f"Startup probe failed: {REFUSED}"
            steps.append(Step(at_s + share * budget_s, "probe_failed", text=said))
        steps.append(Step(at_s + budget_s, "probe_killed"))
    return tuple(steps)


PROBE_KILLS = Scenario(
    "probe-kills",
    "The startup probe kills an engine that still loads.",
    ((*up_to_start(), *killed_loading(START_S, 120.0, 3)),),
    Expected(None, ("startup probe",), ("Killing", "Unhealthy"), START_S + 240.0),
)
