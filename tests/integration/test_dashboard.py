"""The dashboard of docker/ asks for metrics that a server has."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

DASHBOARD = Path(__file__).parent.parent.parent / "docker/grafana/dashboards/packshot.json"


def test_every_metric_of_the_dashboard_is_on_the_servers_endpoint(tiny):
    with urllib.request.urlopen(f"http://{tiny.server.metrics_address}/metrics") as answer:
        served = set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.M))
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    shown = {name for text in expressions for name in re.findall(r"\b(?:nv|packshot)_\w+", text)}
    # What Triton says of GPUs needs one.
    missing = {name for name in shown - served if not name.startswith("nv_gpu_")}
    assert not missing
    assert len(shown & served) > 15
