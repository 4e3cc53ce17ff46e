# Runs as root in a build's container, a copy of the runtime's image. The inputs are files in this folder, which is
# deleted before the container is committed to an image. See docs/builds.md.
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
    # The host's mirror serves the host's release of Debian. This image may be of another release.
    if [ -s apt.sources ] && [ -n "${VERSION_CODENAME:-}" ] && grep -q "$VERSION_CODENAME" apt.sources; then
        set -- -o Dir::Etc::SourceList=/run/secrets/apt.sources -o Dir::Etc::SourceParts=- "$@"
    fi
    apt-get "$@"
}

update() {
    [ -z "${updated:-}" ] || return 0
    command -v apt-get >/dev/null || fail "this image has no apt-get: packages can only be added to images based on Debian"
    [ ! -r /etc/os-release ] || . /etc/os-release
    # Slim images lack this folder, and packages with alternatives (such as Java) do not install without it.
    mkdir -p /usr/share/man/man1
    apt_get update
    updated=yes
}

installed() {
    dpkg-query -W -f '${binary:Package}\n' | sort
}

# Installs an installer that is removed again at the end.
lend() {
    echo "== tools: $1"
    update
    [ -s before ] || installed >before
    apt_get install -y --no-install-recommends "$1" >tools.log 2>&1 || { cat tools.log; fail "$1 could not be installed"; }
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
    # Wheels only: installing a wheel executes no code of the package. Building a source distribution would.
    for wheel in /usr/share/python-wheels/pip-*.whl; do pip=$wheel/pip; done
    python3 "$pip" install --break-system-packages --root-user-action=ignore \
        --no-input --no-cache-dir --disable-pip-version-check --progress-bar=off --only-binary=:all: -r pip.txt
fi

if [ -s npm.json ]; then
    command -v node >/dev/null || fail "npm: this image has no node"
    command -v npm >/dev/null || lend npm
    echo "== npm"
    # npm removes packages that package.json does not name, so name those already in the image, at their versions.
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
    # --ignore-scripts: no code of a package runs here. Node.js looks for modules of /workspace last in /node_modules,
    # but npm fails in / ("Tracker already exists"): install here, and move the folder.
    # Debian's npm finds its modules only with Debian's Node.js, which comes with it.
    PATH=/usr/bin:$PATH npm install --ignore-scripts --omit=dev --no-audit --no-fund --no-progress --no-update-notifier
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
