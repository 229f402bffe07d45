"""An environment in which `vllm.entrypoints.openai.api_server` is a small server of ours.

With it the way of target local is tested in seconds; test_local_engine.py takes the real one.
"""

import subprocess
import sys
from pathlib import Path

# Speaks as much of the protocol as start-up needs, after PRETEND_DELAY seconds; starts a
# child as vLLM does, and fails as told by PRETEND_FAILURE.
SERVER = """
import argparse, json, os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser(prog="api_server.py")
for flag in ("--host", "--port", "--model", "--served-model-name", "--max-model-len"):
    parser.add_argument(flag)
options = parser.parse_args()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("INFO 01-01 00:00:00 [core.py:1] Initializing a V1 LLM engine (v0.32.0)", flush=True)
print("child", child.pid, "key", os.environ.get("VLLM_API_KEY"), flush=True)
if os.environ.get("PRETEND_FAILURE"):
    print("RuntimeError: " + os.environ["PRETEND_FAILURE"], flush=True)
    child.kill()
    sys.exit(1)
time.sleep(float(os.environ.get("PRETEND_DELAY", "0")))
print("INFO 01-01 00:00:01 [kv_cache_utils.py:1] CPU KV cache size: 1,024 tokens", flush=True)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["model"] == options.served_model_name
        body = json.dumps({"choices": [{}]} if known else {"message": "no such model"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

ThreadingHTTPServer((options.host, int(options.port)), Handler).serve_forever()
"""


def make_environment(home: Path) -> Path:
    """Make the environment in `home`; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    packages = next(home.glob("lib/python*/site-packages"))
    module = packages / "vllm" / "entrypoints" / "openai"
    module.mkdir(parents=True)
    for folder in (packages / "vllm", packages / "vllm" / "entrypoints", module):
        (folder / "__init__.py").write_text("")
    (module / "api_server.py").write_text(SERVER)
    described = packages / "vllm-0.32.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    return home / "bin" / "python"
