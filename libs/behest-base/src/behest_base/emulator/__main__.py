"""`python -m behest_base.emulator`: the gateway on this machine."""

from __future__ import annotations

import argparse
import sys
import threading

from behest_base.emulator.server import Emulator


def main(arguments: list[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    given = _parser().parse_args(arguments)
    emulator = Emulator(
        host=given.host,
        port=given.port,
        db=given.db,
        api_key=given.api_key,
        upstream=given.upstream,
        upstream_key=given.upstream_key,
        upstream_model=given.upstream_model,
        store_tool_calls=given.store_tool_calls,
        chunk_delay=given.chunk_delay_ms / 1000,
    )
    try:
        emulator.start()
    except (OSError, OverflowError) as error:  # taken or not allowed, and no port at all
        emulator.stop()
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        sys.exit(f"The emulator can't listen on {given.host}:{given.port}: {why}. Choose another with --port.")
    print("The Behest emulator is running; Ctrl-C stops it. In another shell:\n")
    for name, value in {**emulator.env, "BEHEST_USER_ID": "alice"}.items():
        print(f"export {name}={value}")
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        emulator.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m behest_base.emulator", description="The Behest gateway on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8787, help="the port (%(default)s)")
    parser.add_argument("--db", default=":memory:", metavar="FILE", help="keep sessions and threads in this file")
    parser.add_argument("--api-key", help="the project's API key (made up if not given)")
    parser.add_argument(
        "--upstream", metavar="URL", help="a real OpenAI-compatible server that answers instead of the model"
    )
    parser.add_argument("--upstream-key", metavar="KEY", help="its API key")
    parser.add_argument("--upstream-model", metavar="NAME", help="the model to ask for there")
    parser.add_argument("--store-tool-calls", action="store_true", help="keep tool calls in threads, as some tiers do")
    parser.add_argument(
        "--chunk-delay-ms", type=float, default=0.0, metavar="N", help="pause between a stream's chunks"
    )
    return parser


if __name__ == "__main__":
    main()
