"""Stories that end well: what happens to an InferenceService that becomes ready.

Times are seconds after the creation of the pod. Nothing here knows who plays it.
"""

from tests.kube.timeline import INITIALIZER, Expected, Scenario, Step

REFUSED = 'Get "http://{ip}:8080/health": dial tcp {ip}:8080: connect: connection refused'
INSUFFICIENT = (
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are "
    "available: 3 No preemption victims found for incoming pod."
)
DOWNLOAD_LOG = (
    "2026-01-01 00:00:12.004 1 kserve INFO [storage_initializer.py:main():32] Initializing, "
    "args: src_uri [hf://Qwen/Qwen2.5-7B-Instruct] dest_path[ [/mnt/models]\n"
    "2026-01-01 00:00:12.005 1 kserve INFO [kserve_storage.py:download():106] Copying contents of "
    "hf://Qwen/Qwen2.5-7B-Instruct to local"
)
ENGINE_START_LOG = (
    "INFO 01-01 00:01:10 [api_server.py:1977] vLLM API server version 0.32.0\n"
    "INFO 01-01 00:01:22 [gpu_model_runner.py:4012] Starting to load model /mnt/models..."
)
ENGINE_READY_LOG = (
    "INFO 01-01 00:02:01 [default_loader.py:308] Loading weights took 21.43 seconds\n"
    "INFO 01-01 00:02:02 [gpu_model_runner.py:4118] Model loading took 14.2487 GiB memory and "
    "24.871339 seconds\n"
    "INFO 01-01 00:02:31 [core.py:281] init engine (profile, create kv cache, warmup model) took "
    "28.44 seconds\n"
    "INFO:     Application startup complete."
)


def scheduled(at_s: float = 0.5) -> tuple[Step, ...]:
    return (Step(at_s, "scheduled"),)


def initialised(begin_s: float, download_s: float) -> tuple[Step, ...]:
    """The storage initializer's image is on the node; then it downloads."""
    return (
        Step(begin_s, "present", INITIALIZER),
        Step(begin_s, "started", INITIALIZER),
        Step(begin_s + 0.1, "log", INITIALIZER, DOWNLOAD_LOG),
        Step(begin_s + download_s, "finished", INITIALIZER),
    )


def pulled(begin_s: float, pull_s: float) -> tuple[Step, ...]:
    return (
        Step(begin_s, "pulling"),
        Step(begin_s + pull_s, "pulled", text=f"{pull_s:.1f}s"),
    )


def served(begin_s: float, load_s: float) -> tuple[Step, ...]:
    """The engine starts and answers its probes `load_s` seconds later."""
    return (
        Step(begin_s, "started"),
        Step(begin_s + 0.5 * load_s, "log", text=ENGINE_START_LOG),
        Step(
            begin_s + 0.6 * load_s,
            "probe_failed",
            text=f"Startup probe failed: {REFUSED}",
        ),
        Step(begin_s + 0.9 * load_s, "log", text=ENGINE_READY_LOG),
        Step(begin_s + load_s, "ready"),
    )


def up_to_start(download_s: float = 20.0, pull_s: float = 30.0) -> tuple[Step, ...]:
    return (
        *scheduled(),
        *initialised(2.0, download_s),
        *pulled(2.0 + download_s + 1.0, pull_s),
    )


START_S = 54.0

FAST = Scenario(
    "fast",
    "Everything is on the node: ready after half a minute.",
    (
        (
            *scheduled(),
            *initialised(1.0, 5.0),
            Step(7.0, "present"),
            Step(7.0, "started"),
            Step(15.0, "log", text=ENGINE_START_LOG),
            Step(28.0, "log", text=ENGINE_READY_LOG),
            Step(30.0, "ready"),
        ),
    ),
    Expected(ready_s=30.0),
)

COLD = Scenario(
    "cold",
    "Image pulled, model downloaded, weights loaded: three minutes.",
    ((*up_to_start(60.0, 45.0), *served(110.0, 70.0)),),
    Expected(ready_s=180.0),
)

SLOW = Scenario(
    "slow",
    "A large model: twenty minutes, with ProgressDeadlineExceeded on the way.",
    ((*up_to_start(500.0, 90.0), *served(595.0, 600.0)),),
    Expected(ready_s=1195.0, evidence=("Unhealthy",)),
)

SCALED_UP = Scenario(
    "scaled-up",
    "No GPU at first; the cluster autoscaler adds a node.",
    (
        (
            Step(0.2, "unschedulable", text=INSUFFICIENT),
            Step(5.0, "scale_up", "", "pod triggered scale-up: [{gpu-pool 0->1 (max: 8)}]"),
            Step(240.0, "scheduled", text="gpu-node-4"),
            *initialised(245.0, 30.0),
            *pulled(276.0, 60.0),
            *served(337.0, 60.0),
        ),
    ),
    Expected(ready_s=397.0),
)

FLAKY_PULL = Scenario(
    "flaky-pull",
    "The registry fails once; the second pull succeeds.",
    (
        (
            *scheduled(),
            *initialised(2.0, 5.0),
            Step(8.0, "pulling"),
            Step(
                10.0,
                "pull_failed",
                text='failed to pull and unpack image "{image}": 503 Service Unavailable',
            ),
            *pulled(25.0, 20.0),
            *served(46.0, 30.0),
        ),
    ),
    Expected(ready_s=76.0),
)

CRASHED_ONCE = Scenario(
    "crashed-once",
    "The engine dies once and starts well the second time.",
    (
        (
            *up_to_start(),
            Step(START_S, "started"),
            Step(START_S + 20.0, "log", text=ENGINE_START_LOG),
            Step(START_S + 22.0, "died", code=1),
            Step(START_S + 23.0, "back_off", text="10s"),
            *served(START_S + 33.0, 60.0),
        ),
    ),
    Expected(ready_s=START_S + 93.0),
)

RESTARTED_UNDER_LOAD = Scenario(
    "restarted-under-load",
    "Ready, then the liveness probe kills the container; ready again after a minute.",
    (
        (
            *FAST.pods[0],
            Step(
                120.0,
                "probe_failed",
                text='Liveness probe failed: Get "http://{ip}:8080/health": context deadline '
                "exceeded (Client.Timeout exceeded while awaiting headers)",
            ),
            Step(130.0, "probe_killed", reason="liveness"),
            Step(190.0, "ready"),
        ),
    ),
    Expected(ready_s=30.0, evidence=("Killing",)),
)

SCALED_UNDER_LOAD = Scenario(
    "scaled-under-load",
    "Ready, then somebody adds a replica.",
    FAST.pods,
    Expected(ready_s=30.0),
    service=(Step(90.0, "scaled", "", number=2),),
)

ROLLED_UNDER_LOAD = Scenario(
    "rolled-under-load",
    "Ready, then a rolling restart replaces the pod.",
    FAST.pods,
    Expected(ready_s=30.0),
    service=(Step(90.0, "rolling_restart", ""),),
)

DRAINED_UNDER_LOAD = Scenario(
    "drained-under-load",
    "Ready, then the pod is deleted; its successor starts from the beginning.",
    FAST.pods,
    Expected(ready_s=30.0),
    service=(Step(90.0, "pod_deleted", ""),),
)

STUCK_DELETION = Scenario(
    "stuck-deletion",
    "Ready; then the controller stops, so that its finalizer stays.",
    FAST.pods,
    Expected(ready_s=30.0),
    service=(Step(60.0, "controller_down", ""),),
)

READY = (
    FAST,
    COLD,
    SLOW,
    SCALED_UP,
    FLAKY_PULL,
    CRASHED_ONCE,
    RESTARTED_UNDER_LOAD,
    SCALED_UNDER_LOAD,
    ROLLED_UNDER_LOAD,
    DRAINED_UNDER_LOAD,
    STUCK_DELETION,
)
