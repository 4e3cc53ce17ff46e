# What a build's container runs, as root in a copy of the runtime's image. All that varies is in files beside this
# one; the folder is gone before the image is made of the rest. See docs/builds.md.
set -eu
cd /run/secrets
export HOME=/run/secrets LC_ALL=C DEBIAN_FRONTEND=noninteractive
export APT_CONFIG=/run/secrets/apt_conf PIP_CONFIG_FILE=/run/secrets/pip_conf
export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc npm_config_cache=/run/secrets/npm-cache
. ./environment

fail() {
    echo "ERROR: $*" >&2
    exit 1
}

apt_get() {
    set -- -q -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@"
    # The host's mirror serves the host's release of Debian, and this image may be of another.
    if [ -s apt.sources ] && [ -n "${VERSION_CODENAME:-}" ] && grep -q "$VERSION_CODENAME" apt.sources; then
        set -- -o Dir::Etc::SourceList=/run/secrets/apt.sources -o Dir::Etc::SourceParts=- "$@"
    fi
    apt-get "$@"
}

update() {
    [ -z "${updated:-}" ] || return 0
    command -v apt-get >/dev/null || fail "this image has no apt-get: packages can be added to Debian's kind only"
    [ ! -r /etc/os-release ] || . /etc/os-release
    # A slim image lacks it, and packages with alternatives (Java's) do not install without it.
    mkdir -p /usr/share/man/man1
    apt_get update
    updated=yes
}

installed() {
    dpkg-query -W -f '${binary:Package}\n' | sort
}

# An installer that the image need not keep.
lend() {
    echo "== tools: $1"
    update
    [ -s before ] || installed >before
    apt_get install -y --no-install-recommends "$1" >tools.log 2>&1 || { cat tools.log; fail "no $1"; }
}

if [ -s apt.txt ]; then
    echo "== apt"
    update
    set --
    while read -r package; do set -- "$@" "$package"; done <apt.txt
    apt_get install -y --no-install-recommends -- "$@"
fi

if [ -s pip.txt ]; then
    command -v python3 >/dev/null || fail "pip: this image has no python3"
    [ -n "$(ls /usr/share/python-wheels/pip-*.whl 2>/dev/null)" ] || lend python3-pip-whl
    echo "== pip"
    # Wheels only: what is unpacked executes nothing, where building a source distribution runs its author's code.
    for wheel in /usr/share/python-wheels/pip-*.whl; do pip=$wheel/pip; done
    python3 "$pip" install --break-system-packages --root-user-action=ignore \
        --no-input --no-cache-dir --disable-pip-version-check --progress-bar=off --only-binary=:all: -r pip.txt
fi

if [ -s npm.json ]; then
    command -v node >/dev/null || fail "npm: this image has no node"
    command -v npm >/dev/null || lend npm
    echo "== npm"
    # npm removes what package.json does not name: what the image has already stays, at its version.
    node -e '
        const fs = require("fs");
        const there = {};
        if (fs.existsSync("/node_modules/.package-lock.json")) {
            const lock = JSON.parse(fs.readFileSync("/node_modules/.package-lock.json"));
            for (const [path, { version }] of Object.entries(lock.packages)) {
                const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path);
                if (name) there[name[1]] = version;
            }
        }
        const wanted = JSON.parse(fs.readFileSync("npm.json"));
        fs.writeFileSync("package.json", JSON.stringify({ private: true, dependencies: { ...there, ...wanted } }));
    '
    # No scripts: nothing of a package runs here. npm fails at the root ("Tracker already exists"), where Node.js
    # looks last from /workspace: hence here, and moved.
    npm install --ignore-scripts --omit=dev --no-audit --no-fund --no-progress --no-update-notifier
    rm -rf /node_modules
    mv node_modules /node_modules
fi

if [ -s before ]; then
    echo "== removing tools"
    installed | comm -13 before - | xargs -r dpkg --purge >/dev/null
fi
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log /tmp/*
cd /
rm -rf /run/secrets
echo "== done"
