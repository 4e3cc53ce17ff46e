"""A description as the script makes it, for tests without Docker."""

from typing import Any

from inspections.describing import parse
from runtimes.models import Runtime

SAID = {
    "environment": "export HOME='/home/nobody'\nexport LANG='C.UTF-8'\n",
    "version": "\nPython 3.13.5\n",
    "os": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n',
    "kernel": "Linux version 4.4.0 #1 SMP\n",
    "status": "Name:\tsh\nUid:\t65534\t65534\nGid:\t65534\t65534\n",
    "passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534:nobody:/home/nobody:/bin/sh\n",
    "limits": "Max processes             128                  128                  processes \n"
    "Max open files            1024                 1024                 files     \n"
    "Max file size             104857600            104857600            bytes     \n",
    "memory": "MemTotal:         262144 kB\n",
    "cpus": "48\n",
    "mounts": "none /tmp tmpfs rw,size=50m,mode=1777 0 0\nnone / 9p ro 0 0\n",
    "interfaces": "Inter-|   Receive\n face |bytes\n    lo:       0       0\n",
    "hosts": "127.0.0.1\tlocalhost # this\n",
    "hostname": "sandbox\n",
    "folder": "/workspace\n",
    "timezone": "UTC\n",
    "processes": "python3\nsh\n",
    "written": "/home/nobody\n/tmp/\n/tmp/below/\n",
    "packages:pip": "numpy\t2.5.5\nidna\t3.20\n",
    "packages:npm": "",
    "packages:gem": "",
    "packages:php": "",
    "packages:r": "",
    "packages:java": "",
    "packages:debian": "base-files\t13.8+deb13u8\nlogin\t1:4.16.0-2\n",
    "packages:alpine": "",
}


def facts(**said: str) -> dict[str, Any]:
    return parse(SAID | said) | {
        "limits": Runtime().limits.as_dict(),
        "compiles": False,
        "network": "none",
        "profile": "default",
        "collected_under": "default",
    }
