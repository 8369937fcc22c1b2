"""Run the service: `python cookbook/chat_service [PORT]`, on the real gateway with BEHEST_KEY set, else on an emulator."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

import uvicorn
from app import create_app  # type: ignore[import-not-found] # beside this file, where Python looks

from behest_base import BehestError
from behest_base.emulator import Emulator


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve a chat for many users.")
    parser.add_argument("port", nargs="?", type=int, default=8000)
    port = parser.parse_args().port
    with contextlib.ExitStack() as stack:
        if not os.environ.get("BEHEST_KEY"):
            emulator = stack.enter_context(Emulator(chunk_delay=0.05))
            os.environ.update(emulator.env)
            print(f"BEHEST_KEY is not set, so this runs on the emulator at {emulator.base_url}.")
        app = create_app()
        print(f"Open http://127.0.0.1:{port}")
        uvicorn.run(app, port=port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    try:
        main()
    except BehestError as error:
        sys.exit(f"{type(error).__name__}: {error}")
