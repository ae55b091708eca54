//! The settings as flags of the command line.

use std::path::PathBuf;

use super::{keys::flags, layer::Layer};

/// Settings as flags. Each has a variable (`VEGA_BUILDER_MEMORY`) and a key in the configuration file
/// (`caps.memory`); flags win over variables, variables over the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Instead of a repository: the organisation, all of whose repositories may send jobs here [key: organization]
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    organization: Option<String>,
    /// The organisation's group of runners that this one joins; it says which repositories may use it
    /// [default: Default] [key: runner-group]
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    runner_group: Option<String>,
    /// The runner's name at GitHub, and the container's here [default: vega-REPO] [key: name]
    #[arg(long, help_heading = "Settings")]
    name: Option<String>,
    /// The runner's labels; a job with `runs-on: [self-hosted, vega]` runs here [default: self-hosted,vega]
    /// [key: labels]
    #[arg(long, value_name = "LABEL,…", help_heading = "Settings")]
    labels: Option<String>,
    /// The runner image; its signature is verified before it runs, always
    /// [default: ghcr.io/ad-astra-computing/vega-builder:latest] [key: image]
    #[arg(long, value_name = "REFERENCE", help_heading = "Settings")]
    image: Option<String>,
    /// podman or docker [default: podman when it is installed, else docker] [key: engine]
    #[arg(long, help_heading = "Settings")]
    engine: Option<String>,
    /// Without a container, as a service of this host, which has Nix and systemd; the folder is where GitHub's runner is
    /// unpacked, /opt/actions-runner unless given [key: host]
    #[arg(
        long,
        value_name = "FOLDER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/opt/actions-runner",
        help_heading = "Settings"
    )]
    host: Option<String>,
    /// The container's network: a network of the engine, or `host` (jobs then reach every service on this
    /// machine's loopback) [default: the engine's] [key: network]
    #[arg(long, help_heading = "Settings")]
    network: Option<String>,
    /// How long a running job may go on when the runner is stopped or the host shuts down; then it is cancelled
    /// [default: 10m] [key: patience]
    #[arg(long, value_name = "TIME", help_heading = "Settings")]
    patience: Option<String>,
    /// With `install` and `slots`: so many jobs at once, each in a fresh container with a registration of its own; the caps
    /// are each slot's [default: 0, the runner stays] [key: ephemeral]
    #[arg(long, value_name = "N", help_heading = "Settings")]
    ephemeral: Option<String>,
    /// First of the 65536 host ids of the container's user namespace, with podman as root [default: the first free
    /// range above 4026531840] [key: userns-base]
    #[arg(long, value_name = "ID", help_heading = "Settings")]
    userns_base: Option<String>,
    /// Hard limit of memory, swap included, e.g. 12g [default: the host's less 20%, at least 2 GiB less]
    /// [key: caps.memory]
    #[arg(long, value_name = "SIZE", help_heading = "Caps")]
    memory: Option<String>,
    /// Hard limit of processors, e.g. 4 or 1.5 [default: the host's less one eighth, at least half a one
    /// less] [key: caps.cpus]
    #[arg(long, value_name = "NUMBER", help_heading = "Caps")]
    cpus: Option<String>,
    /// Hard limit of processes and threads [default: a quarter of the host's, at most 16384] [key: caps.pids]
    #[arg(long, value_name = "NUMBER", help_heading = "Caps")]
    pids: Option<String>,
    /// How much the Nix store may hold; then garbage is collected, and no job taken while that does not help
    /// [default: half of its file system] [key: caps.disk]
    #[arg(long, value_name = "SIZE", help_heading = "Caps")]
    disk: Option<String>,
    /// How much of the disk stays free: below it garbage is collected, below it for good no job is taken, and a job that
    /// leaves less than an eighth of it is ended [default: 2 GiB, or a tenth of a smaller file system]
    /// [key: caps.min-free]
    #[arg(long, value_name = "SIZE", help_heading = "Caps")]
    min_free: Option<String>,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub github: GitHubArgs,
    /// Nix's build sandbox: `true` (prove it by a real build or do not start), `auto` (prove it, else warn),
    /// `false` [default: true] [key: nix.sandbox]
    #[arg(long, value_name = "MODE", help_heading = "Nix")]
    sandbox: Option<String>,
    /// Derivations that Nix builds at once [default: 2] [key: nix.max-jobs]
    #[arg(long, value_name = "NUMBER", help_heading = "Nix")]
    max_jobs: Option<String>,
    /// Processors that one derivation may use; 0 means all that the caps allow [default: 0] [key: nix.cores]
    #[arg(long, value_name = "NUMBER", help_heading = "Nix")]
    cores: Option<String>,
    /// More binary caches, separated by spaces [key: nix.extra-substituters]
    #[arg(long, value_name = "URL …", help_heading = "Nix")]
    extra_substituters: Option<String>,
    /// Their public keys, separated by spaces [key: nix.extra-trusted-public-keys]
    #[arg(long, value_name = "KEY …", help_heading = "Nix")]
    extra_trusted_public_keys: Option<String>,
    /// What the store of an ephemeral runner's job begins with: `fresh` (the image's own paths) or `warm` (and what earlier
    /// jobs had from caches, shared read-only) [default: fresh] [key: nix.store]
    #[arg(long, value_name = "fresh|warm", help_heading = "Nix")]
    store: Option<String>,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub update: UpdateArgs,
}

/// Whether it is updated by itself.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UpdateArgs {
    /// Have systemd update the image by itself when this window opens, e.g. 'Sun 03:00' (systemd.time(7)) [default:
    /// never] [key: update.at]
    #[arg(long, value_name = "TIME", help_heading = "Updates")]
    update_at: Option<String>,
    /// How long the window stays open: a job that still runs at its end goes on, and so does the old image
    /// [default: 2h] [key: update.within]
    #[arg(long, value_name = "TIME", help_heading = "Updates")]
    update_within: Option<String>,
}

/// Where builds are pushed to, by themselves.
#[derive(Debug, Clone, Default, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
pub struct CacheArgs {
    /// Push every build that Nix finishes in the runner to this cache: vega, file:///folder, http(s)://… or an object
    /// store, as with `push --to` [key: cache.to]
    #[arg(long, value_name = "URL", help_heading = "Cache")]
    cache_to: Option<String>,
    /// The secret key that signs them (`vega-builder key generate`); no job sees it [key: cache.key-file]
    #[arg(long, value_name = "FILE", help_heading = "Cache")]
    cache_key: Option<String>,
    /// What the cache is logged in with: a netrc file for http(s)://, lines like AWS_ACCESS_KEY_ID=… for an object store;
    /// for Vega what `login` keeps, unless given; no job sees it [key: cache.login-file]
    #[arg(long, value_name = "FILE", help_heading = "Cache")]
    cache_login: Option<String>,
    /// Caches whose paths need not be pushed, separated by spaces [default: <https://cache.nixos.org>]
    /// [key: cache.upstreams]
    #[arg(long, value_name = "URL …", help_heading = "Cache")]
    cache_upstreams: Option<String>,
    /// zstd, xz or none [default: zstd] [key: cache.compression]
    #[arg(long, value_name = "NAME", help_heading = "Cache")]
    cache_compression: Option<String>,
    /// No secrets although they look like them, separated by spaces, as `push --allow-secret` [key: cache.allow-secrets]
    #[arg(long, value_name = "RULE:EXPRESSION …", help_heading = "Cache")]
    cache_allow_secrets: Option<String>,
    /// `job`: a job ends when its builds are in the cache; `no`: they go on their way beside the next one
    /// [default: no] [key: cache.wait]
    #[arg(long, value_name = "job|no", help_heading = "Cache")]
    cache_wait: Option<String>,
}

/// Where the file is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FileArgs {
    /// The configuration file to read instead of the standard places
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,
}

/// Whose signature is trusted.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TrustArgs {
    /// An OCI layout (a folder) that holds the image and its signatures, instead of the image's registry; with podman
    /// [key: image-file]
    #[arg(long, value_name = "FOLDER", help_heading = "Settings")]
    image_file: Option<String>,
    /// Regular expression that the certificate's URI name must match as a whole [default: the policy's publishers,
    /// else Vega's publish workflow at a tag, and our own] [key: trust.identity]
    #[arg(long, value_name = "REGEX", help_heading = "Trust")]
    identity: Option<String>,
    /// The certificate's issuer, letter by letter [default: <https://token.actions.githubusercontent.com>]
    /// [key: trust.issuer]
    #[arg(long, value_name = "URL", help_heading = "Trust")]
    issuer: Option<String>,
    /// A public key (PEM) instead of an identity, for who signs with a key of their own [key: trust.key]
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    key: Option<String>,
    /// The policy: publishers, provenance, versions and ages that are demanded [default:
    /// $XDG_CONFIG_HOME/vega-builder/trust.toml, then /etc/vega-builder/trust.toml, else built in] [key: trust.policy]
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    trust_policy: Option<String>,
    /// A trusted_root.json instead of the public Sigstore's, for a private Sigstore [key: trust.trusted-root]
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    trusted_root: Option<String>,
}

/// Where GitHub is and who asks it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GitHubArgs {
    /// The GitHub server, for GitHub Enterprise Server [default: <https://github.com>] [key: github.url]
    #[arg(long, value_name = "URL", help_heading = "GitHub")]
    github_url: Option<String>,
    /// A file that holds a GitHub token, instead of GH_TOKEN, GITHUB_TOKEN or `gh auth token`
    /// [key: github.token-file]
    #[arg(long, value_name = "FILE", help_heading = "GitHub")]
    token_file: Option<String>,
    /// A GitHub App, by its client id, instead of a token; it mints its own for an hour each [key: github.app-id]
    #[arg(long, value_name = "ID", help_heading = "GitHub")]
    app_id: Option<String>,
    /// The file with the App's private key, as GitHub gave it [key: github.app-key-file]
    #[arg(long, value_name = "FILE", help_heading = "GitHub")]
    app_key_file: Option<String>,
}

/// Who asks GitHub about a runner that is installed already.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CredentialArgs {
    /// A file that holds a GitHub token, instead of GH_TOKEN, GITHUB_TOKEN or `gh auth token` [default: the one that
    /// `up` was given] [key: github.token-file]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

impl CredentialArgs {
    pub fn layer(&self) -> Layer {
        flags([("github.token-file", self.token_file.clone())]).collect()
    }
}

impl GitHubArgs {
    pub fn layer(&self, labels: Option<&str>) -> Layer {
        flags([
            ("labels", labels.map(str::to_owned)),
            ("github.url", self.github_url.clone()),
            ("github.token-file", self.token_file.clone()),
            ("github.app-id", self.app_id.clone()),
            ("github.app-key-file", self.app_key_file.clone()),
        ])
        .collect()
    }
}

impl SettingsArgs {
    /// The flags as the strongest layer.
    pub fn layer(&self, repository: Option<&str>) -> Layer {
        let given = [
            ("repository", repository.map(str::to_owned)),
            ("organization", self.organization.clone()),
            ("runner-group", self.runner_group.clone()),
            ("name", self.name.clone()),
            ("labels", self.labels.clone()),
            ("image", self.image.clone()),
            ("engine", self.engine.clone()),
            ("host", self.host.clone()),
            ("network", self.network.clone()),
            ("caps.disk", self.disk.clone()),
            ("caps.min-free", self.min_free.clone()),
            ("patience", self.patience.clone()),
            ("ephemeral", self.ephemeral.clone()),
            ("userns-base", self.userns_base.clone()),
            ("caps.memory", self.memory.clone()),
            ("caps.cpus", self.cpus.clone()),
            ("caps.pids", self.pids.clone()),
            ("github.url", self.github.github_url.clone()),
            ("github.token-file", self.github.token_file.clone()),
            ("github.app-id", self.github.app_id.clone()),
            ("github.app-key-file", self.github.app_key_file.clone()),
            ("nix.sandbox", self.sandbox.clone()),
            ("nix.max-jobs", self.max_jobs.clone()),
            ("nix.cores", self.cores.clone()),
            ("nix.extra-substituters", self.extra_substituters.clone()),
            ("nix.extra-trusted-public-keys", self.extra_trusted_public_keys.clone()),
            ("nix.store", self.store.clone()),
            ("cache.to", self.cache.cache_to.clone()),
            ("cache.key-file", self.cache.cache_key.clone()),
            ("cache.login-file", self.cache.cache_login.clone()),
            ("cache.upstreams", self.cache.cache_upstreams.clone()),
            ("cache.compression", self.cache.cache_compression.clone()),
            ("cache.allow-secrets", self.cache.cache_allow_secrets.clone()),
            ("cache.wait", self.cache.cache_wait.clone()),
            ("update.at", self.update.update_at.clone()),
            ("update.within", self.update.update_within.clone()),
        ];
        let mut layer = self.trust.layer();
        layer.extend(flags(given));
        layer
    }
}

impl TrustArgs {
    pub fn layer(&self) -> Layer {
        flags([
            ("image-file", self.image_file.clone()),
            ("trust.identity", self.identity.clone()),
            ("trust.issuer", self.issuer.clone()),
            ("trust.key", self.key.clone()),
            ("trust.policy", self.trust_policy.clone()),
            ("trust.trusted-root", self.trusted_root.clone()),
        ])
        .collect()
    }
}
