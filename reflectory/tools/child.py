"""The process of an isolated tool: reads one request from stdin, calls the function, writes one answer to stdout."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import sys
import time
from types import ModuleType
from typing import Any, NoReturn


def main() -> NoReturn:
    """Serve one call and end, threads that the function left running included."""
    request = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # what the function prints is not its answer
    sys.path[:] = request["path"]
    from reflectory.execution import Limits
    from reflectory.tools.function import FunctionTool, Options
    from reflectory.tools.inline import failure_of
    from reflectory.tools.isolated import loading
    from reflectory.tools.text import answer

    began, limits, origin = time.monotonic(), Limits(**request["limits"]), request["origin"]
    try:
        with loading():
            module = _module(request)
        found = functools.reduce(getattr, request["name"].split("."), module)
        function: Any = found.function if isinstance(found, FunctionTool) else found
        tool = FunctionTool(function, Options(name="tool", limits=limits, origin=origin))
        made = tool.finish(tool.here(request["arguments"]), began)
    except BaseException as error:
        failed = failure_of(error)
        made = answer(failed.text, most=limits.output_kb * 1024, began=began, error=failed.error, origin=origin)
    text = made.model_dump_json().encode()
    view = memoryview(text)
    while view:
        view = view[os.write(out, view) :]
    os._exit(0)


def _module(request: dict[str, Any]) -> ModuleType:
    """The module of the function; a program's own file under another name, so that its `if __name__ == "__main__"` stays quiet."""
    if request["file"] is None:
        return importlib.import_module(request["module"])
    spec = importlib.util.spec_from_file_location("__isolated_main__", request["file"])
    if spec is None or spec.loader is None:
        msg = f"{request['file']} is no Python file"
        raise ImportError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules["__isolated_main__"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
