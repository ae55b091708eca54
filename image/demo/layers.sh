# shellcheck shell=bash
# shellcheck disable=SC2154 # what is assigned elsewhere is named in the next lines
# The demo image's layers, each a tar that depends on its content alone. Sourced by image/demo/build,
# which provides: here, work, architecture, die, say; layout_add comes from layout.sh.

# What a runner needs besides our program: Nix with its daemon, git for flakes and checkouts, the
# certificates of the public web, and the programs that a workflow's `run:` steps take for granted.
packages=nix-bin,git,ca-certificates,bash,coreutils,curl,gzip,jq,tar,util-linux,xz-utils

# reproducible_tar DIR FILE: names sorted, one owner, one time (the store's own: 1 s after the epoch).
reproducible_tar() {
  tar -C "$1" --sort=name --format=gnu --mtime=@1 --owner=0 --group=0 --numeric-owner -cf "$2" .
}

# base_layer CACHE FRESH: Debian's packages and the users; kept, because it changes with the packages alone.
base_layer() {
  local cache=$1 fresh=$2 suite key kept mirror
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
  case $suite in bookworm | trixie) ;; *) suite=trixie ;; esac
  key=$(cat "$here/layers.sh" "$here/users" <(echo "$suite $architecture") | sha256sum | cut -c1-16)
  kept=$cache/base-$key.tar
  if [ -n "$fresh" ] || [ ! -e "$kept.gz" ] || [ ! -e "$kept.diff-id" ]; then
    say "base layer" "Debian $suite: $packages"
    mkdir -p "$cache"
    mirror=$(debian_mirror)
    debian_root "$suite" "$mirror" "$work/base.tar" >"$cache/mmdebstrap.log" 2>&1 \
      || die "mmdebstrap failed; its log is $cache/mmdebstrap.log: $(tail -n 1 "$cache/mmdebstrap.log")"
    gzip -n -6 -c "$work/base.tar" >"$work/base.tar.gz"
    sha256sum "$work/base.tar" | cut -d' ' -f1 >"$work/base.diff-id"
    rm "$work/base.tar"
    # The two files appear by rename, the digest last: an interrupted build is not taken for a kept one.
    mv "$work/base.tar.gz" "$kept.gz"
    mv "$work/base.diff-id" "$kept.diff-id"
  fi
  layout_add "$kept.gz" "$(cat "$kept.diff-id")" "Debian $suite packages"
  say "base layer" "$(du -h "$kept.gz" | cut -f1)"
}

# The mirror that this machine's apt already uses, so that a local one is honoured; nothing when apt names none, and
# mmdebstrap takes its own default.
debian_mirror() {
  # shellcheck disable=SC2016 # the format is apt's, not the shell's
  apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -E '^https?:.*/debian/?$' | sort -u | head -n 1 || true
}

# debian_root SUITE MIRROR TAR
debian_root() {
  local mode=unshare
  [ "$(id -u)" -ne 0 ] || mode=root
  # No device nodes (the engine makes its own), no manuals; the packages' copyright files stay.
  mmdebstrap --mode="$mode" --variant=minbase --include="$packages" --skip=output/mknod \
    --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/i18n/*' \
    --customize-hook="$here/users \"\$1\"" \
    --format=tar "$1" "$3" ${2:+"$2"}
}

# closure_layer RUNNER: the runner and a static shell as store paths, a root that refers to both, and
# the closure's registration. The store is a private one below $work; the machine's own is not touched.
closure_layer() {
  local store=$work/store tree=$work/closure name
  mkdir -p "$work/leaves/bash-static/bin" "$tree/usr/share/vega-builder"
  name=actions-runner-$(runner_version "$1")
  cp -a "$1" "$work/leaves/$name"
  cp "$(command -v busybox)" "$work/leaves/bash-static/bin/busybox"
  mv "$work/leaves/bash-static" "$work/leaves/busybox-static"
  ln -s busybox "$work/leaves/busybox-static/bin/sh"
  runner_dist=$(private_store --add "$work/leaves/$name")
  local shell; shell=$(private_store --add "$work/leaves/busybox-static")

  # `--add` knows no references, so the root is registered by hand, with what Nix itself computes.
  local root=$work/leaves/vega-builder-root
  mkdir -p "$root/bin"
  ln -s "$runner_dist" "$root/runner"
  ln -s "$shell/bin/busybox" "$root/bin/busybox"
  builder_root=/nix/store/$(nix-hash --type sha256 --base32 --truncate "$root")-vega-builder-root
  cp -a "$root" "$store$builder_root"
  find "$store$builder_root" -type d -exec chmod 0555 {} +
  find "$store$builder_root" -exec touch -h -d @1 {} +
  printf '%s\n' "$builder_root" "$(nix-hash --type sha256 "$root")" \
    "$(nix-store --dump "$root" | wc -c)" '' 2 "$runner_dist" "$shell" | LC_ALL=C private_store --load-db
  private_store --verify --check-contents 2>"$work/verify.log" || die "the closure is not sound: $(cat "$work/verify.log")"
  [ "$(private_store --query --requisites "$builder_root" | wc -l)" -eq 3 ] || die "the closure's root does not hold it"

  private_store --dump-db >"$tree/usr/share/vega-builder/closure-registration"
  mkdir -p "$tree/nix"
  mv "$store/nix/store" "$tree/nix/store"
  rm -rf "$tree/nix/store/.links"
  chmod 0755 "$tree/nix" "$tree/nix/store"
  add_tree "$tree" "closure of ${builder_root##*/}"
  say "closure layer" "${builder_root##*/}: 3 store paths"
}

# Nix on a store of its own, with nobody's configuration.
private_store() {
  env -u NIX_REMOTE -u NIX_PATH HOME="$work/home" NIX_CONF_DIR="$work/none" NIX_USER_CONF_FILES=/dev/null \
    nix-store --store "$work/store" --option build-users-group '' "$@"
}

# The runner's own version when it tells one, as the real one does with --version.
runner_version() {
  local version
  version=$("$1/bin/Runner.Listener" --version 2>/dev/null | head -n 1 || true)
  [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || version=0.0.0
  echo "$version"
}

# program_layer FILE. /bin is a link to usr/bin in Debian, and a layer that has a folder `bin` of its own
# would hide that link: the file goes where the link leads.
program_layer() {
  local tree=$work/program
  mkdir -p "$tree/usr/bin" "$tree/etc/vega-builder"
  install -m 0755 "$1" "$tree/usr/bin/vega-builder"
  install -m 0755 "$here"/files/job-{started,completed}.sh "$tree/etc/vega-builder/"
  # Where Actions Runner Controller starts a runner; gone once PID 1 has begun.
  mkdir -p "$tree/home/runner"
  install -m 0755 "$here/files/run.sh" "$tree/home/runner/"
  add_tree "$tree" "vega-builder"
  say "program layer" "$(du -h "$1" | cut -f1) vega-builder"
}

# The shell entrypoint of the image that is not ours.
foreign_layer() {
  local tree=$work/program
  mkdir -p "$tree/usr/bin"
  install -m 0755 "$here/files/foreign-entrypoint" "$tree/usr/bin/foreign-entrypoint"
  add_tree "$tree" "a shell entrypoint"
}

# add_tree DIR WHAT
add_tree() {
  reproducible_tar "$1" "$work/layer.tar"
  gzip -n -6 -c "$work/layer.tar" >"$work/layer.tar.gz"
  layout_add "$work/layer.tar.gz" "$(sha256sum "$work/layer.tar" | cut -d' ' -f1)" "$2"
  rm "$work/layer.tar" "$work/layer.tar.gz"
}
