# shellcheck shell=bash
# shellcheck disable=SC2154 # what is assigned elsewhere is named in the next lines
# The OCI image layout (image-spec 1.0: oci-layout, index.json, blobs/sha256), written with jq and sha256sum.
# Sourced by image/demo/build, which provides: work, architecture.

# layout_begin DIR
layout_begin() {
  layout=$1
  mkdir -p "$layout/blobs/sha256"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  : >"$work/layers.jsonl"
}

# blob FILE: copies it in by its digest, prints the descriptor without a media type.
blob() {
  local hex; hex=$(sha256sum "$1" | cut -d' ' -f1)
  cp --reflink=auto "$1" "$layout/blobs/sha256/$hex"
  jq -cn --arg digest "sha256:$hex" --argjson size "$(stat -c %s "$1")" '{$digest, $size}'
}

# layout_add FILE.tar.gz DIFF_ID WHAT: the next layer; DIFF_ID is the hex sha256 of the tar itself.
layout_add() {
  jq -cn --argjson blob "$(blob "$1")" --arg diff_id "sha256:$2" --arg what "$3" \
    '{descriptor: ({mediaType: "application/vnd.oci.image.layer.v1.tar+gzip"} + $blob), $diff_id, $what}' \
    >>"$work/layers.jsonl"
}

# image_config FOREIGN VERSION: the image's configuration. It has no creation date, and neither has its
# history: they are optional, and would make two builds differ.
image_config() {
  jq -cS -s --arg foreign "$1" --arg version "$2" --arg architecture "$architecture" \
    --arg root "$builder_root" --arg runner "$runner_dist" '
    {
      $architecture, os: "linux",
      config: {
        Entrypoint: (if $foreign == "" then ["/bin/vega-builder", "entrypoint"] else ["/usr/bin/foreign-entrypoint"] end),
        WorkingDir: "/home/runner",
        Env: [
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          "HOME=/home/runner", "USER=runner",
          "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "NIX_SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
          "VEGA_BUILDER_ROOT=\($root)", "VEGA_BUILDER_VERSION=\($version)",
          "VEGA_NIX_REGINFO=/usr/share/vega-builder/closure-registration",
          "RUNNER_DIST=\($runner)", "RUNNER_ROOT=/home/runner/actions-runner"
        ],
        Volumes: {"/nix": {}, "/home/runner/actions-runner": {}},
        Labels: ({"org.opencontainers.image.version": $version}
          + if $foreign == "" then {"dev.vega.builder.layout": "1"} else {} end)
      },
      rootfs: {type: "layers", diff_ids: map(.diff_id)},
      history: map({created_by: .what})
    }' "$work/layers.jsonl"
}

# layout_finish CONFIG INDEX: manifest, manifest list when INDEX is not empty, index.json; prints the digest.
layout_finish() {
  local manifest top
  jq -cS -s --argjson config "$(blob "$1")" '{
      schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: ({mediaType: "application/vnd.oci.image.config.v1+json"} + $config),
      layers: map(.descriptor)
    }' "$work/layers.jsonl" >"$work/manifest.json"
  manifest=$(jq -c --arg architecture "$architecture" \
    '{mediaType: "application/vnd.oci.image.manifest.v1+json"} + . + {platform: {$architecture, os: "linux"}}' \
    <<<"$(blob "$work/manifest.json")")
  top=$manifest
  if [ -n "$2" ]; then
    jq -cS -n --argjson manifest "$manifest" \
      '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [$manifest]}' >"$work/list.json"
    top=$(jq -c '{mediaType: "application/vnd.oci.image.index.v1+json"} + .' <<<"$(blob "$work/list.json")")
  fi
  jq -cS -n --argjson top "$top" '{schemaVersion: 2, manifests: [$top]}' >"$layout/index.json"
  jq -r .digest <<<"$top"
}
