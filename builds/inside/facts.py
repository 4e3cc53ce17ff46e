"""Say what pip must know about this Python, as one line of JSON. Runs in the chosen image, from Python 3.8 on."""

import glob
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from importlib import metadata

version = platform.python_version()
words = (sysconfig.get_config_var("SOABI") or "").split("-")
pypy = sys.implementation.name == "pypy"
libc = platform.libc_ver()
if libc[0] == "glibc":
    found = ["glibc", *libc[1].split(".")[:2]]
else:
    loaders = glob.glob("/lib/ld-musl-*.so.1")
    said = subprocess.run(loaders[:1], stderr=subprocess.PIPE, check=False).stderr.decode() if loaders else ""
    found = ["musl", *(re.findall(r"Version (\d+)\.(\d+)", said) or [("1", "0")])[0]]
installed = {}
for distribution in metadata.distributions():
    name = distribution.metadata["Name"]
    # The first one on the path counts.
    if name and name.lower() not in installed:
        installed[name.lower()] = {
            "name": name,
            "version": distribution.version,
            "requires": list(distribution.requires or ()),
            "extras": list(distribution.metadata.get_all("Provides-Extra") or ()),
        }
facts = {
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "abi": "_".join(words[:2]).replace("-", "_") if pypy else "cp" + words[1] if len(words) > 1 else "none",
    "machine": platform.machine(),
    "libc": found,
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": version,
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(map(str, sys.version_info[:2])),
        "sys_platform": sys.platform,
    },
    "installed": list(installed.values()),
}
print("FACTS python " + json.dumps(facts), flush=True)
