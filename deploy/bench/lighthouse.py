"""Serves torchft's lighthouse until its input ends; prints its port. Only the compiled module is loaded: it needs no PyTorch."""

import importlib.util
import pathlib
import sys

(module,) = pathlib.Path(sys.argv[1], "torchft").glob("_torchft.*.so")
spec = importlib.util.spec_from_file_location("_torchft", module)
torchft = importlib.util.module_from_spec(spec)
spec.loader.exec_module(torchft)
server = torchft.LighthouseServer(bind="127.0.0.1:0", min_replicas=1)
print(server.address().rsplit(":", 1)[1], flush=True)
sys.stdin.read()
server.shutdown()
