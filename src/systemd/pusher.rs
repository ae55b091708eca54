//! The service that pushes a declared runner's builds: outside of its container, with nothing of the host in sight but
//! the store, the queue and its own credential.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    RESTARTS, SPARE, Writer, service_name,
    text::{path, rest},
};
use crate::value::RunnerName;

/// What it starts with.
pub struct PusherUnit {
    pub name: RunnerName,
    /// This very program.
    pub program: PathBuf,
    /// Where the engine has the runner's store paths, and its queue.
    pub store: PathBuf,
    pub queue: PathBuf,
    /// The file that `prepare` writes down what is pushed where in.
    pub settings: PathBuf,
    /// Who wrote it.
    pub writer: Writer,
    /// The credentials, by their names in the unit.
    pub key: Option<PathBuf>,
    pub login: Option<PathBuf>,
    /// The cache's own folder, where it is one on this host.
    pub folder: Option<PathBuf>,
    /// Folders of the runner's that are beside those, and not for it.
    pub hidden: Vec<PathBuf>,
    /// How long the last uploads may take when the host shuts down.
    pub patience: Duration,
}

const KEY: &str = "cache-key";
const LOGIN: &str = "cache-login";

pub fn pusher_service_name(name: &RunnerName) -> String {
    format!("vega-builder-{name}.pusher.service")
}

/// What it may do: read a store, write a queue that is another user's, speak to a cache.
const WALLS: &str = "\
CapabilityBoundingSet=CAP_DAC_OVERRIDE
LockPersonality=yes
MemoryDenyWriteExecute=yes
MemoryMax=512M
MemorySwapMax=0
Nice=5
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=tmpfs
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
TasksMax=256
TemporaryFileSystem=/var:ro
InaccessiblePaths=-/run/vega-builder -/run/docker.sock -/run/podman -/etc/shadow -/etc/gshadow -/etc/ssh -/etc/vega-builder
";

impl PusherUnit {
    pub fn service(&self) -> String {
        let name = &self.name;
        let credentials = [(KEY, "--key", &self.key), (LOGIN, "--login", &self.login)];
        let credentials: Vec<_> =
            credentials.iter().filter_map(|(name, flag, file)| Some((name, flag, file.as_ref()?))).collect();
        let loaded: Vec<_> = credentials
            .iter()
            .map(|(name, _, file)| format!("LoadCredential={name}:{}\n", rest(file)))
            .collect();
        let given: Vec<_> = credentials
            .iter()
            .map(|(name, flag, _)| format!(" {flag}=${{CREDENTIALS_DIRECTORY}}/{name}"))
            .collect();
        let seen = |from: &Path| path(Path::new(&format!("-{}", from.display())));
        let state = self.settings.parent().unwrap_or(Path::new("/"));
        let hidden = self.hidden.iter().map(|folder| format!("InaccessiblePaths={}\n", seen(folder)));
        let hidden = hidden.collect::<String>();
        let folder = self.folder.as_deref();
        let folder = folder.map_or_else(String::new, |folder| format!("BindPaths={}\n", seen(folder)));
        format!(
            "{written}\
             [Unit]\n\
             Description=Uploads of the GitHub Actions runner {name} (vega-builder)\n\
             Wants=network-online.target\n\
             # Ended after the runner, whose last builds it pushes.\n\
             Before={runner}\n\
             After=network-online.target\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             Type=exec\n\
             {loaded}\
             ExecStart={program} pusher --store={store} --queue={queue} --settings={settings}{given}\n\
             TimeoutStopSec={patience}\n\
             {RESTARTS}\
             BindReadOnlyPaths={bound} {seen_state} {seen_store}\n\
             BindPaths={seen_queue}\n\
             {folder}\
             {hidden}\
             {WALLS}\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            written = self.writer.line(name),
            loaded = loaded.concat(),
            given = given.concat(),
            runner = service_name(name),
            program = path(&self.program),
            bound = path(&self.program),
            store = path(&self.store),
            queue = path(&self.queue),
            settings = path(&self.settings),
            patience = (self.patience + SPARE).as_secs(),
            seen_state = seen(state),
            seen_store = seen(&self.store),
            seen_queue = seen(&self.queue),
        )
    }
}
