"""Hold a share of an embedded server until a line comes in: one process of the tests beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

from service.kit.embedded import start_embedded

server = start_embedded(Path(sys.argv[1]))
sys.stdout.write(server.url + "\n")
sys.stdout.flush()
sys.stdin.readline()
server.stop()
