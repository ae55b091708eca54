# `nix fmt`: each language by its own formatter.
{
  treefmt,
  nixfmt,
  rustfmt,
}:

treefmt.withConfig {
  runtimeInputs = [
    nixfmt
    rustfmt
  ];
  settings = {
    tree-root-file = "flake.nix";
    formatter = {
      nix = {
        command = "nixfmt";
        includes = [ "*.nix" ];
      };
      rust = {
        command = "rustfmt";
        options = [
          "--config-path"
          "rustfmt.toml"
          "--edition"
          "2024"
        ];
        includes = [ "*.rs" ];
      };
    };
  };
}
