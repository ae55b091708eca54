//! What the host side and PID 1 of the image promise each other: names of variables, paths and labels.
//!
//! The written form for image makers is `image/LAYOUT.md`. Changing a value here breaks images that are
//! already published, so a change needs a new [`LAYOUT`] number.

/// Image label that says "this image keeps the layout contract"; it is covered by the image's digest.
pub const LAYOUT_LABEL: &str = "dev.vega.builder.layout";
/// The layout this program speaks.
pub const LAYOUT: &str = "1";

/// Where the static binary lies in the image: outside /nix, so that a volume over /nix cannot hide it.
pub const PROGRAM: &str = "/bin/vega-builder";
/// The Nix store's volume.
pub const STORE_MOUNT: &str = "/nix";
/// Where its paths are.
pub const STORE: &str = "/nix/store";
/// The names of store paths that are to be fetched, a line each.
pub const WANTED: &str = "/run/vega-builder/wanted";
/// Where the one-shot seeding container finds the store's volume: beside /nix, which is the image's there.
pub const SEED_MOUNT: &str = "/run/vega-builder/store";
/// A folder of mode 0700 on the host's tmpfs, shared with the container's root alone.
pub const HANDOVER_MOUNT: &str = "/run/vega-builder/handover";
/// In the handover folder: the registration token on its way in, 0400, deleted by PID 1 when read.
pub const HANDOVER_TOKEN: &str = "registration-token";
/// In the handover folder: a just-in-time configuration on its way in, for a container that was started without one.
pub const HANDOVER_JIT: &str = "jit-config";
/// In the handover folder: what PID 1 last said of itself (see [`Phase`]).
pub const HANDOVER_STATE: &str = "state.json";
/// In the handover folder: while it lies there, no job starts, and PID 1 rests when the running one has ended.
pub const HANDOVER_DRAIN: &str = "drain";
/// One that is not empty is held by a command that renews it, and counts for so long after its last change: should the
/// command die, the runner goes on.
pub const DRAIN_LEASE: std::time::Duration = std::time::Duration::from_secs(30);
/// In the handover folder: while it lies there, PID 1 tries no more; made by it, removed by the host.
pub const HANDOVER_GAVE_UP: &str = "gave-up";
/// Where an image with a shell entrypoint expects the token (Vega's published image).
pub const FOREIGN_TOKEN: &str = "/home/runner/.runner-token";
/// The runner's root: its registration, work folder and logs; a volume.
pub const RUNNER_ROOT: &str = "/home/runner/actions-runner";
/// In it, root's own folder: the copies of the registration, and what happened to the runner.
pub const KEPT: &str = ".vega";
/// The home folder of the runner's user: empty when a job starts.
pub const HOME: &str = "/home/runner";
/// The closure's registration, as `nix-store --load-db` reads it.
pub const CLOSURE_REGISTRATION: &str = "/usr/share/vega-builder/closure-registration";
/// The script that the runner calls before a job's first step; root's, out of a job's reach.
pub const JOB_STARTED_HOOK: &str = "/etc/vega-builder/job-started.sh";
/// The script that the runner calls after a job's last step; root's too.
pub const JOB_COMPLETED_HOOK: &str = "/etc/vega-builder/job-completed.sh";
/// A link to the program, which Nix's daemon calls by this name after every build.
pub const POST_BUILD_HOOK: &str = "/run/vega-builder/post-build-hook";
/// Builds on their way to a cache; a volume of root's, which the pusher has as well.
pub const QUEUE_MOUNT: &str = "/var/lib/vega-builder/queue";
/// The same on a host: a link to where it is, for the runner and for its nix-daemon.
pub const HOST_QUEUE: &str = "/run/vega-builder/queue";
/// Root's, for everybody in the container: how many builds wait for their upload.
pub const UPLOADS: &str = "/run/vega-builder/uploads.json";
/// Where a job is told of by its first hook, and where root writes that down.
pub const JOB_SOCKET: &str = "/run/vega-builder/job.sock";
pub const JOB: &str = "/run/vega-builder/job.json";
/// In the pusher's container: what it pushes where, and the key that signs it.
pub const PUSHER_MOUNT: &str = "/run/vega-builder/pusher";
/// Root's, for the hook: whose jobs this runner takes, as `owner/name`, or an organisation's name.
pub const CONFIGURED_SCOPE: &str = "/run/vega-builder/repository";
/// The events that may start a job here: only people with the right to write can cause these.
pub const ALLOWED_EVENTS: &[&str] = &["push", "workflow_dispatch", "schedule", "release", "merge_group"];
/// What GitHub calls the part of its runner that runs one job's steps.
pub const WORKER: &str = "Runner.Worker";
/// The unprivileged user (and group) that runs the runner and its jobs.
pub const RUNNER_UID: u32 = 1001;

/// Variables of the image's environment contract.
pub mod env {
    pub const MODE: &str = "VEGA_MODE";
    pub const OWNER: &str = "GITHUB_OWNER";
    pub const REPOSITORY: &str = "GITHUB_REPOSITORY";
    /// In the place of both: the runner takes the jobs of all of its repositories.
    pub const ORGANIZATION: &str = "GITHUB_ORGANIZATION";
    /// The organisation's group of runners that it joins.
    pub const GROUP: &str = "VEGA_RUNNER_GROUP";
    /// The GitHub server as the container reaches it; `https://github.com` unless set.
    pub const SERVER_URL: &str = "VEGA_GITHUB_URL";
    pub const TOKEN_FILE: &str = "GITHUB_RUNNER_TOKEN_FILE";
    pub const TOKEN: &str = "GITHUB_RUNNER_TOKEN";
    pub const PAT_FILE: &str = "GITHUB_PAT_FILE";
    pub const PAT: &str = "GITHUB_PAT";
    /// A just-in-time configuration instead of a token: one job, then the container ends. As GitHub's own runner has it, so
    /// that Actions Runner Controller can start the image.
    pub const JIT_CONFIG: &str = "ACTIONS_RUNNER_INPUT_JITCONFIG";
    pub const JIT_CONFIG_FILE: &str = "VEGA_JITCONFIG_FILE";
    pub const RUNNER_NAME: &str = "GITHUB_RUNNER_NAME";
    pub const LABELS: &str = "GITHUB_RUNNER_LABELS";
    pub const EPHEMERAL: &str = "VEGA_RUNNER_EPHEMERAL";
    pub const SANDBOX: &str = "VEGA_NIX_SANDBOX";
    pub const MAX_JOBS: &str = "VEGA_NIX_MAX_JOBS";
    pub const CORES: &str = "VEGA_NIX_CORES";
    pub const EXTRA_SUBSTITUTERS: &str = "VEGA_EXTRA_SUBSTITUTERS";
    pub const EXTRA_KEYS: &str = "VEGA_EXTRA_TRUSTED_PUBLIC_KEYS";
    pub const GC: &str = "VEGA_GC";
    pub const GC_DELETE_OLDER_THAN: &str = "VEGA_GC_DELETE_OLDER_THAN";
    pub const GC_INTERVAL: &str = "VEGA_GC_INTERVAL";
    pub const GC_INITIAL_DELAY: &str = "VEGA_GC_INITIAL_DELAY";
    pub const NO_BANNER: &str = "VEGA_NO_BANNER";
    /// What the container's cgroup must hold it to, e.g. `memory=2147483648,millicpus=1500,pids=512`; PID 1
    /// reads it back before every listener's start, so that it is proven after a reboot too.
    pub const CAPS: &str = "VEGA_BUILDER_CAPS";
    /// How long a running job may go on when the container is stopped, e.g. `10m`; then it is cancelled.
    pub const PATIENCE: &str = "VEGA_BUILDER_PATIENCE";
    /// How much the store may hold, in bytes; not set: half of its file system.
    pub const DISK: &str = "VEGA_BUILDER_DISK";
    /// How much of the disk stays free, in bytes; not set: 2 GiB, or a tenth of a smaller file system.
    pub const MIN_FREE: &str = "VEGA_BUILDER_MIN_FREE";
    /// Set on a host that has no container: the folder with the runner's root and its home; and its user, `name:uid:gid`.
    pub const HOST_FOLDER: &str = "VEGA_BUILDER_FOLDER";
    pub const HOST_USER: &str = "VEGA_BUILDER_USER";
    /// Builds are queued for a pusher beside this container; `job`: a job waits for its own.
    pub const UPLOADS: &str = "VEGA_BUILDER_UPLOADS";
    /// Set by the image, never carried over from one image to the next.
    pub const BUILDER_ROOT: &str = "VEGA_BUILDER_ROOT";
    pub const REGINFO: &str = "VEGA_NIX_REGINFO";
    pub const BUILDER_VERSION: &str = "VEGA_BUILDER_VERSION";
    pub const RUNNER_DIST: &str = "RUNNER_DIST";
    pub const RUNNER_ROOT: &str = "RUNNER_ROOT";
}

/// What PID 1 says of itself in `state.json`, in the order in which a boot passes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Store, daemon and sandbox probe; or the pause before the listener is started again.
    Starting,
    /// Neither a saved registration nor a token: waiting for `vega-builder register`.
    WaitingForToken,
    /// Booted and proven, and waiting for a just-in-time configuration.
    Warm,
    /// The configure process is running.
    Registering,
    /// The runner listens for jobs.
    Listening,
    /// A job is running.
    Busy,
    /// No job runs, and none starts until the host says so.
    Drained,
    /// It has failed again and again, and tries no more until the host says so; the message says why.
    GaveUp,
    /// The container is about to end; the message says why, when something is wrong.
    Stopping,
}

/// The content of `state.json`; replaced whole (written beside, then renamed).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct State {
    pub phase: Phase,
    /// When the phase began (RFC 3339).
    pub since: jiff::Timestamp,
    /// Whether builds run in Nix's sandbox, as proven by a real build; absent before the probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<bool>,
    /// The store lacks a part of the image's closure, or holds it with another content; the host makes it anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// Not empty: it is told to end, and how it goes about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub draining: String,
    /// One sentence for the person who asks for the status.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
