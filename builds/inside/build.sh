# Runs as root in a build's container, a copy of the runtime's image, without a network and without secrets. The files
# beside it were fetched elsewhere; the folder is deleted before the container is committed. See docs/builds.md.
set -eu
cd /run/build
export HOME=/run/build LC_ALL=C DEBIAN_FRONTEND=noninteractive

fail() {
    echo "ERROR: $*" >&2
    exit 1
}

# Says what only the image's interpreters know. The worker believes none of it.
describe() {
    if [ -e facts.py ]; then
        command -v python3 >/dev/null || fail "pip: this image has no python3"
        python3 -B facts.py
    fi
    if [ -e facts.js ]; then
        command -v node >/dev/null || fail "npm: this image has no node"
        node facts.js
    fi
}

install_debs() {
    command -v apt-get >/dev/null || fail "apt: this image has no apt-get"
    # Slim images lack this folder, and packages with alternatives (such as Java) do not install without it.
    mkdir -p /usr/share/man/man1
    set -- /run/build/debs/*.deb
    if [ -e "$1" ]; then
        apt-get -q -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dir::Etc::SourceList=/dev/null \
            -o Dir::Etc::SourceParts=/dev/null install -y --no-install-recommends -- "$@"
    fi
    rm -rf debs
}

install_wheels() {
    set -- pip/pip-*.whl
    # Installing a wheel executes no code of the package.
    python3 -B offline_pip.py "$1" install --break-system-packages --root-user-action=ignore --no-input --no-cache-dir \
        --disable-pip-version-check --progress-bar=off --only-binary=:all: --no-index --find-links=wheels -r pip.txt
}

read -r step <step
case $step in
describe) describe ;;
apt)
    echo "== installing apt packages"
    install_debs
    ;;
languages)
    if [ -e pip.txt ]; then
        echo "== installing pip packages"
        install_wheels
    fi
    if [ -d node_modules ]; then
        echo "== installing npm packages"
        # Node.js looks for modules of /workspace last in /node_modules.
        chown -R 0:0 node_modules
        rm -rf /node_modules
        mv node_modules /node_modules
    fi
    ;;
clean)
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log /tmp/*
    cd /
    rm -rf /run/build
    ;;
esac
