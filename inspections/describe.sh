# Print what a program sees. Runs as /bin/sh in a sandbox of the runtime; see describing.py, which reads the output.
# $1: the command that prints the language's version. Only shell built-ins are taken for granted.

section() { printf '\036%s\n' "$1"; }

has() { command -v "$1" >/dev/null 2>&1; }

show() {
    if has cat; then cat "$1"; else while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$1"; fi
} 2>/dev/null

# A file that cannot be created would end the shell without the parentheses.
writes() { (: >"$1/.written") 2>/dev/null; }

section environment
export -p

section version
if [ -n "$1" ] && said=$( (eval "$1") 2>&1 </dev/null); then printf '%s\n' "$said"; fi

section os
show /etc/os-release

section kernel
show /proc/version

section status
show /proc/$$/status

section passwd
show /etc/passwd

section limits
show /proc/$$/limits

section memory
show /proc/meminfo

section cpus
if has nproc; then nproc; fi

section mounts
show /proc/mounts

section interfaces
show /proc/net/dev

section hosts
show /etc/hosts

section hostname
show /proc/sys/kernel/hostname

section folder
pwd

section timezone
if [ -n "$TZ" ]; then printf '%s\n' "$TZ"; elif has date; then date +%Z; fi

section processes
for process in /proc/[0-9]*; do show "$process/comm"; done

section written
for folder in "$HOME" / /*/ /*/*/; do
    case $folder in "" | /proc/* | /sys/*) continue ;; esac
    if writes "${folder%/}"; then printf '%s\n' "$folder"; fi
done

section packages:pip
if has python3; then
    python3 -c '
from importlib.metadata import distributions
for each in distributions():
    print(each.metadata["Name"], each.version, sep="\t")
'
fi 2>/dev/null

section packages:npm
if has node; then
    node -e '
const fs = require("fs"), path = require("path");
const list = (folder) => { try { return fs.readdirSync(folder); } catch { return []; } };
for (const folder of [...require.resolve.paths("x"), ...require("module").globalPaths])
    for (const name of list(folder))
        for (const full of name.startsWith("@") ? list(path.join(folder, name)).map((own) => `${name}/${own}`) : [name])
            try {
                const { version } = JSON.parse(fs.readFileSync(path.join(folder, full, "package.json")));
                console.log(`${full}\t${version}`);
            } catch {}
'
fi 2>/dev/null

section packages:gem
if has ruby; then ruby -e 'Gem::Specification.each { |each| puts "#{each.name}\t#{each.version}" }'; fi 2>/dev/null

section packages:php
if has php; then
    php -r 'foreach (get_loaded_extensions() as $each) echo $each, "\t", phpversion($each), "\n";'
fi 2>/dev/null

section packages:r
if has Rscript; then
    Rscript -e 'write.table(installed.packages()[, c("Package", "Version")], sep = "\t", quote = FALSE,
        row.names = FALSE, col.names = FALSE)'
fi 2>/dev/null

section packages:java
if has java; then java --list-modules | while IFS=@ read -r name version; do printf '%s\t%s\n' "$name" "$version"; done
fi 2>/dev/null

section packages:debian
# shellcheck disable=SC2016
if has dpkg-query; then dpkg-query -W -f '${Package}\t${Version}\n'; fi 2>/dev/null

section packages:alpine
if has apk; then
    apk list --installed | while read -r full _; do
        release=${full##*-}
        rest=${full%-*}
        printf '%s\t%s\n' "${rest%-*}" "${rest##*-}-$release"
    done
fi 2>/dev/null

section end
