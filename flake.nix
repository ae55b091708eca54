{
  description = "vega-builder: your own machine behind GitHub Actions for heavy Nix builds, without trusting luck";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    # GitHub's runner alone: GitHub refuses old ones on its own clock, while the rest moves with nixpkgs.
    runner.url = "github:NixOS/nixpkgs/nixos-unstable";
  };

  outputs =
    {
      self,
      nixpkgs,
      runner,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem =
        of: lib.genAttrs systems (system: of (nixpkgs.legacyPackages.${system}.extend self.overlays.default));
    in
    {
      overlays.default = import ./nix/packages.nix { inherit runner; };

      packages = eachSystem (pkgs: {
        default = pkgs.vega-builder;
        inherit (pkgs) vega-builder vega-builder-static;
        image = pkgs.vega-builder-image;
        simulator = pkgs.vega-builder-simulator;
      });

      apps = eachSystem (pkgs: rec {
        default = vega-builder;
        vega-builder = {
          type = "app";
          program = lib.getExe pkgs.vega-builder;
          meta.description = "Put this machine behind GitHub Actions for heavy Nix builds";
        };
      });

      nixosModules.default = {
        imports = [ ./modules ];
        nixpkgs.overlays = [ self.overlays.default ];
      };

      devShells = eachSystem (pkgs: { default = pkgs.callPackage ./nix/shell.nix { }; });

      formatter = eachSystem (pkgs: pkgs.callPackage ./nix/formatter.nix { });

      checks = eachSystem (
        pkgs:
        import ./checks {
          inherit self pkgs nixpkgs;
        }
      );
    };
}
