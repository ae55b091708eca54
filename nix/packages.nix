# The overlay: the program, the same as a static one for the image, the image, and what plays GitHub in checks.
{ runner }:
final: _: {
  vega-builder = final.callPackage ./vega-builder.nix { };

  vega-builder-static = final.pkgsStatic.callPackage ./vega-builder.nix { };

  vega-builder-simulator = final.callPackage ./simulator.nix { };

  vega-builder-image = final.callPackage ../image {
    # Only actions on node24 work on GitHub today; every runtime more is one more to keep safe.
    github-runner = runner.legacyPackages.${final.stdenv.hostPlatform.system}.github-runner.override {
      nodeRuntimes = [ "node24" ];
    };
  };
}
