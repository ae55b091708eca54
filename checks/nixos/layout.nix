# The runner image as an OCI layout with a manifest list, as publishers push it; GitHub's runner in it is the stand-in.
{
  lib,
  runCommand,
  jq,
  skopeo,
  stdenv,
  vega-builder-image,
  vega-builder-simulator,
}:

let
  stand-in = runCommand "actions-runner-stand-in" { } ''
    ${vega-builder-simulator}/bin/simulator install-runner $out
  '';
  image = vega-builder-image.override { github-runner = stand-in // { version = "0.0.0"; }; };
  architecture = stdenv.hostPlatform.go.GOARCH;
in
runCommand "vega-builder-layout"
  {
    nativeBuildInputs = [
      jq
      skopeo
    ];
  }
  ''
    ${image} >image.tar
    skopeo --insecure-policy --tmpdir . copy --quiet docker-archive:image.tar oci:$out:image
    manifest=$(jq -c '.manifests[0] | del(.annotations) + {platform: {os: "linux", architecture: "${architecture}"}}' $out/index.json)
    jq -cn --argjson manifest "$manifest" \
      '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [$manifest]}' >list.json
    hex=$(sha256sum list.json | cut -d' ' -f1)
    cp list.json $out/blobs/sha256/$hex
    jq -cn --arg digest "sha256:$hex" --argjson size "$(stat -c %s list.json)" \
      '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.index.v1+json", digest: $digest, size: $size}]}' \
      >$out/index.json
  ''
