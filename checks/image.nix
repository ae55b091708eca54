# Two builds of the image give one digest: the program is compiled anew for the second one, and the digests compared.
{ pkgs }:

let
  again = pkgs.vega-builder-image.override {
    vega-builder-static = pkgs.vega-builder-static.overrideAttrs { REBUILD = "again"; };
  };
  layout =
    image:
    pkgs.runCommand "oci-layout" { nativeBuildInputs = [ pkgs.skopeo ]; } ''
      ${image} >image.tar
      skopeo --insecure-policy --tmpdir . copy --quiet docker-archive:image.tar oci:$out:image
    '';
in
pkgs.runCommand "image-is-reproducible" { nativeBuildInputs = [ pkgs.jq ]; } ''
  digest() { jq -er '.manifests[0].digest' "$1/index.json"; }
  first=$(digest ${layout pkgs.vega-builder-image})
  second=$(digest ${layout again})
  echo "first: $first, second: $second"
  test "$first" = "$second"
  echo "$first" >$out
''
