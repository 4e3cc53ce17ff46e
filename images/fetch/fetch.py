"""Fetch packages for another image, as /fetch/job.json asks, into /fetch/out: .deb files, wheels, node_modules.

Job: {"apt": {"packages", "architectures"}, "pip": {"packages", "arguments", "markers", "too_old"},
"npm": {"dependencies", "node"}}, each part optional. Nothing of the fetched packages is executed.
"""

import glob
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, "/opt/fetch")
from carrier import DOOR, carry  # noqa: E402

JOB = "/fetch/job.json"
OUT = "/fetch/out"
SECRETS = "/run/secrets"
PIP = ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off", "--only-binary=:all:"]


def run(command, **environment):
    """Run an installer. Raises SystemExit with its status."""
    base = {"PATH": "/usr/bin:/bin", "HOME": "/fetch", "LC_ALL": "C.UTF-8"}
    status = subprocess.run(command, env=base | environment, cwd="/fetch", check=False).returncode
    if status:
        raise SystemExit(status)


def apt(job, port):
    os.makedirs("/fetch/apt/lists/partial", exist_ok=True)
    os.makedirs(f"{OUT}/debs/partial", exist_ok=True)
    architectures = job["architectures"]
    settings = {
        "APT::Architecture": architectures[0],
        "Dir::State": "/fetch/apt",
        "Dir::State::lists": "/fetch/apt/lists",
        "Dir::State::status": "/fetch/apt/status",
        "Dir::Cache": "/fetch/apt/cache",
        "Dir::Cache::archives": f"{OUT}/debs",
        "Dir::Etc::SourceList": "/fetch/apt/apt.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/fetch/apt/preferences",
        "Dir::Etc::PreferencesParts": "/dev/null",
        # Every source names its own keys.
        "Dir::Etc::TrustedParts": "/dev/null",
        "Dir::Log": "/fetch/apt",
        "Acquire::http::Proxy": f"http://127.0.0.1:{port}",
        "Acquire::https::Proxy": f"http://127.0.0.1:{port}",
        # The forwarder answers one request for each connection.
        "Acquire::http::Pipeline-Depth": "0",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    options += [word for name in architectures for word in ("-o", f"APT::Architectures::={name}")]
    command = ["/usr/bin/apt-get", "-q", *options]
    run([*command, "update"], APT_CONFIG=f"{SECRETS}/apt_conf")
    run(
        [*command, "install", "-y", "--no-install-recommends", "--download-only", "--", *job["packages"]],
        APT_CONFIG=f"{SECRETS}/apt_conf",
    )
    shutil.rmtree(f"{OUT}/debs/partial")


def pip(job, port):
    (own,) = glob.glob("/usr/share/python-wheels/pip-*.whl")
    os.makedirs(f"{OUT}/wheels", exist_ok=True)
    environment = {"PIP_CONFIG_FILE": f"{SECRETS}/pip_conf", "PIP_PROXY": f"http://127.0.0.1:{port}"}
    command = ["/usr/bin/python3", "-S", "-B", "-P", "/opt/fetch/chosen_pip.py"]
    chosen = [*PIP, *job["arguments"]]
    # The resolver sees what the image has, so its packages keep their versions where they can.
    resolve = [
        "install",
        "--dry-run",
        "--report=/fetch/report.json",
        "--break-system-packages",
        "--no-user",
        "--quiet",
    ]
    run([*command, *resolve, *chosen, *job["packages"]], **environment)
    with open("/fetch/report.json") as file:
        found = [entry["metadata"] for entry in json.load(file)["install"]]
    pins = [f"{metadata['name']}=={metadata['version']}" for metadata in found]
    if pins:
        run([*command, "download", "--no-deps", f"--dest={OUT}/wheels", *chosen, *pins], **environment)
    os.makedirs(f"{OUT}/pip", exist_ok=True)
    if job["too_old"]:
        # Debian's pip needs a newer Python than the image has.
        run([*command, "download", "--no-deps", f"--dest={OUT}/pip", *chosen, "pip"], **environment)
    else:
        shutil.copy(own, f"{OUT}/pip")


def npm(job, port):
    os.makedirs("/fetch/npm", exist_ok=True)
    with open("/fetch/npm/package.json", "w") as file:
        json.dump({"private": True, "dependencies": job["dependencies"]}, file)
    proxy = f"http://127.0.0.1:{port}"
    run(
        # The file that npm leaves in node_modules names no address: a mirror's may contain a password.
        ["/usr/local/bin/node", "/usr/local/bin/npm", "--prefix", "/fetch/npm", "install", "--ignore-scripts",
         "--omit=dev", "--no-audit", "--no-fund", "--no-progress", "--no-update-notifier",
         "--omit-lockfile-registry-resolved"],
        NPM_CONFIG_USERCONFIG=f"{SECRETS}/npmrc",
        npm_config_cache="/fetch/npm-cache",
        npm_config_proxy=proxy,
        npm_config_https_proxy=proxy,
        NODE_OPTIONS="--require /opt/fetch/chosen_node.js",
        CHOSEN_NODE=json.dumps(job["node"]),
    )  # fmt: skip
    os.makedirs("/fetch/npm/node_modules", exist_ok=True)
    os.rename("/fetch/npm/node_modules", f"{OUT}/node_modules")


def say_refused():
    try:
        with open(f"{DOOR}/refused") as file:
            refused = dict.fromkeys(line.strip() for line in file)
    except FileNotFoundError:
        return
    for line in refused:
        tool, host = line.split(" ", 1)
        print(f"ERROR: {tool} asked for {host}, which is none of its mirrors: see SANDBOX_BUILD_HOSTS", flush=True)


def main():
    with open(JOB) as file:
        job = json.load(file)
    os.makedirs(OUT, exist_ok=True)
    for tool, fetch in (("apt", apt), ("pip", pip), ("npm", npm)):
        if tool in job:
            print(f"== fetching {tool} packages", flush=True)
            try:
                fetch(job[tool], carry(tool))
            except SystemExit:
                say_refused()
                raise


main()
