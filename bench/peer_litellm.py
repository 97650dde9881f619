"""LiteLLM's proxy, the peer every figure is set beside: installed apart, pinned, started on the same mock.

It is given its best case: one worker on the core Antiphon has, no database, one key (it refuses to start with none),
no logging, its own settings for production, and no look-ups on the network. It stores no interactions; Antiphon does.
`python -m bench.peer_litellm` measures it alone.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import venv
from pathlib import Path

import uvloop

from bench.load import LoadError, Unary, fetch, hammer, request_bytes
from bench.servers import ROOT, Server, free_port, mock

REQUIREMENT = "litellm[proxy]==1.106.2"
HOME = ROOT / ".sdk" / "litellm"
MODEL = "gemini-3-flash-preview"
PACED = "paced"

# Made anew for each run: it opens nothing but a mock on the loopback.
KEY = "sk-" + secrets.token_hex(32)

# Its two doors: the bridge speaks the API that Antiphon speaks, the other is what it is built for.
BRIDGE = "/v1beta/interactions"
CHAT = "/v1/chat/completions"
REQUESTS = {
    BRIDGE: request_bytes("POST", BRIDGE, {"model": MODEL, "input": "Say hello."}, key=KEY),
    CHAT: request_bytes(
        "POST", CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}]}, key=KEY
    ),
}

ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it reads its price list from GitHub at import
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MASTER_KEY": KEY,
    "NO_DOCS": "True",
}


def install() -> Path:
    """The virtual environment's bin folder; made on first use (about two minutes), kept under .sdk/."""
    marker = HOME / "installed"
    if not marker.exists() or marker.read_text() != REQUIREMENT:
        print(f"installing {REQUIREMENT} into {HOME}", file=sys.stderr)
        venv.create(HOME, with_pip=True, clear=True)
        subprocess.run([str(HOME / "bin/pip"), "install", "--quiet", REQUIREMENT], check=True)
        marker.write_text(REQUIREMENT)
    return HOME / "bin"


def write_config(mock_port: int) -> Path:
    """JSON is YAML too, and needs no library here."""

    def entry(name: str, upstream: str) -> dict[str, object]:
        base = f"http://127.0.0.1:{mock_port}/v1"
        return {"model_name": name, "litellm_params": {"model": f"openai/{upstream}", "api_base": base, "api_key": "x"}}

    path = HOME / "config.yaml"
    path.write_text(
        json.dumps(
            {
                "model_list": [entry(MODEL, "mock"), entry(PACED, "mock-200tps-100")],
                "litellm_settings": {"telemetry": False, "callbacks": [], "num_retries": 0},
                "general_settings": {"disable_spend_logs": True},
            }
        )
    )
    return path


def litellm(mock_port: int) -> Server:
    binaries = install()
    port = free_port()
    command = [str(binaries / "litellm"), "--config", str(write_config(mock_port)), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    return Server("litellm", command, port, "/health/liveliness", environment=ENVIRONMENT, patience=180)


async def doors(port: int) -> list[str]:
    """Which of its paths answer this configuration at all."""
    return [path for path, request in REQUESTS.items() if (await fetch(port, request))[0] == 200]


async def measure(port: int, path: str, clients: int, seconds: float) -> Unary | None:
    try:
        return await hammer(port, REQUESTS[path], clients=clients, seconds=seconds, warm_up=2.0)
    except LoadError as error:
        print(f"litellm {path} at {clients} clients: {error}", file=sys.stderr)
        return None


def main() -> None:
    with mock() as upstream, litellm(upstream.port) as peer:
        print(f"start {peer.start_seconds:.1f} s, {peer.memory():.0f} MB idle")
        for path in uvloop.run(doors(peer.port)):
            for clients in (1, 16):
                if seen := uvloop.run(measure(peer.port, path, clients, 10)):
                    print(
                        f"{path} x{clients}: {seen.rate:.0f} requests/s,"
                        f" p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms"
                    )
        print(f"{peer.memory():.0f} MB after")


if __name__ == "__main__":
    main()
