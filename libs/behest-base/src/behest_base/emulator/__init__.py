"""The gateway on a laptop and in tests, on the wire contract of the real one (extra `emulator`).

```python
with Emulator() as gateway:
    behest = Behest(gateway.api_key, base_url=gateway.base_url, user_id="alice")
```

`python -m behest_base.emulator` serves it, and prints the environment lines to copy.
"""

try:
    import starlette as _starlette
    import uvicorn as _uvicorn
except ImportError as error:
    _missing = 'The emulator needs Starlette and uvicorn: pip install "behest-base[emulator]".'
    raise ImportError(_missing) from error

from behest_base.emulator.faults import RawResponse as RawResponse
from behest_base.emulator.faults import RawSSE as RawSSE
from behest_base.emulator.recording import RecordedRequest as RecordedRequest
from behest_base.emulator.server import Emulator as Emulator

del _starlette, _uvicorn

__all__ = ["Emulator", "RawResponse", "RawSSE", "RecordedRequest"]
