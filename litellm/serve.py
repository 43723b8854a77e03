"""Serves LiteLLM's application: python serve.py --port N [--host H] [--stop-with-parent]. Configuration: CONFIG_FILE_PATH.

Does what `litellm --config` does, without two things that cost half of its start (measured, 2 cores: 14 s, here 9 s):
it compares the database with the schema in a child process, which our migration makes needless, and it imports
some four thousand modules with the garbage collector looking through everything again and again.
"""

import argparse
import gc
import os
import signal
import threading
import time

PARENT_CHECK_SECONDS = 1.0
# Requests in flight when it is told to stop. The launcher waits longer than this before it kills.
GRACEFUL_SHUTDOWN_SECONDS = 5


def stop_with(parent: int) -> None:
    """Ends this process when the one that started it is gone without having said so (kill -9)."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stop-with-parent", action="store_true")
    options = parser.parse_args()
    if options.stop_with_parent:
        threading.Thread(target=stop_with, args=(os.getppid(),), daemon=True).start()

    gc.disable()
    import uvicorn
    from litellm.proxy.proxy_server import app

    gc.freeze()
    gc.enable()
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        server_header=False,
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
