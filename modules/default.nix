# services.vega-builder: GitHub Actions runners in verified containers, under hard caps.
#
# Declares virtualisation.oci-containers.containers.<name> and what stands around them; docs/nixos.md leads from an empty
# configuration to a green job, docs/nixos-options.md lists every option.
{
  imports = [
    ./options.nix
    ./assertions.nix
    ./containers.nix
    ./units.nix
  ];
}
