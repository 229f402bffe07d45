"""Starts vLLM on a node besides the first: worker.py WORKERS ARGUMENT...

KServe gives workers no rank; it is the place of the pod's address among those of all workers.
"""

import os
import socket
import sys
import time

workers = int(sys.argv[1])
own = os.environ["VLLM_HOST_IP"]
found: list[str] = []
while len(found) != workers or own not in found:
    time.sleep(2)
    try:
        answers = socket.getaddrinfo(os.environ["WORKER_SVC"], None)
    except OSError:
        continue
    found = sorted({str(answer[4][0]) for answer in answers})
rank = str(found.index(own) + 1)
os.execvp("vllm", ["vllm", *sys.argv[2:], "--node-rank", rank])
