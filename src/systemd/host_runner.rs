//! The service of a runner that has no container: the supervisor and its jobs under caps of systemd's own, with as little of
//! the host in sight as Nix's builds allow.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Error, PusherUnit, RESTARTS, SPARE, Writer, beside,
    files::{Files, Places},
    host::{replace, run},
    slice_name,
    text::{path, rest},
    unit::head,
};
use crate::{
    engine::CANCELLING,
    value::{Caps, RunnerName},
};

/// Everything that the files say.
pub struct HostRunner {
    pub name: RunnerName,
    /// This very program.
    pub program: PathBuf,
    pub caps: Caps,
    pub patience: Duration,
    /// The runner's own folder, and where a token comes.
    pub state: PathBuf,
    pub handover: PathBuf,
    /// What mints registration tokens, where the operator gives it: its name, and its file.
    pub credential: Option<(&'static str, PathBuf)>,
    /// What pushes its builds, where they go to a cache.
    pub pusher: Option<PusherUnit>,
    /// The jobs' user, as systemd-sysusers reads it.
    pub sysusers: String,
}

/// What no build needs. The rest is what Nix's sandbox takes: mounts and namespaces, a /proc without anything mounted over
/// it, devices.
const WALLS: &str = "\
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_PACCT CAP_AUDIT_CONTROL CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_SYSLOG
KeyringMode=private
LockPersonality=no
PrivateTmp=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictRealtime=yes
UMask=0022
";

impl HostRunner {
    /// Every file and its text.
    pub fn files(&self) -> Vec<(PathBuf, String)> {
        let places = Places::of(&self.name);
        let mut files = vec![
            (places.sysusers, self.sysusers.clone()),
            (places.tmpfiles, beside::tmpfiles(&self.name, &self.handover, 0)),
            (places.path, beside::path_unit(&self.name, &self.handover)),
            (places.slice, beside::slice(&self.name, &self.caps, None)),
            (places.service, self.service()),
        ];
        files.extend(self.pusher.as_ref().map(|pusher| (places.pusher, pusher.service())));
        files
    }

    /// Have systemd make the jobs' user, before anything is given to it.
    pub fn make_user(&self) -> Result<(), Error> {
        let file = Places::of(&self.name).sysusers;
        replace(&file, &self.sysusers)?;
        run("systemd-sysusers", &[&file.display().to_string()])
    }

    /// Write what is missing or different, and have systemd read it; true when something was.
    pub fn write(&self) -> Result<bool, Error> {
        Files { name: &self.name, texts: self.files(), is_enabled: true }.write()
    }

    fn service(&self) -> String {
        let (name, program, caps) = (&self.name, path(&self.program), &self.caps);
        let patience = (self.patience + CANCELLING + SPARE).as_secs();
        let credential = self
            .credential
            .as_ref()
            .map_or_else(String::new, |(name, file)| format!("LoadCredential={name}:{}\n", rest(file)));
        let written = [Path::new("/nix"), &self.state, &self.handover].map(path).join(" ");
        format!(
            "{head}\n\
             [Service]\n\
             Type=notify\n\
             NotifyAccess=main\n\
             {credential}\
             ExecCondition={program} can-start {name}\n\
             ExecStartPre={program} prepare {name}\n\
             ExecStart={program} host-runner {name}\n\
             # What was changed is taken after the job.\n\
             ExecReload=kill -HUP $MAINPID\n\
             # The supervisor is told, and ends its jobs; what is left then is killed.\n\
             KillMode=mixed\n\
             TimeoutStartSec=infinity\n\
             TimeoutStopSec={patience}\n\
             {RESTARTS}\
             LimitNOFILE=1048576\n\
             Slice={slice}\n\
             # The caps: of the runner, its jobs and their builds together. A job that is too large loses a process, not the runner.\n\
             MemoryMax={memory}\n\
             MemorySwapMax=0\n\
             CPUQuota={percent}%\n\
             TasksMax={pids}\n\
             OOMPolicy=continue\n\
             ReadWritePaths={written}\n\
             {WALLS}\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            head = head(name, Writer::UpHost, self.pusher.is_some()),
            slice = slice_name(name),
            memory = caps.memory.0,
            percent = f64::from(caps.cpus.millis) / 10.0,
            pids = caps.pids,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HostRunner, PusherUnit, Writer};
    use crate::value::Caps;

    #[test]
    fn a_runner_without_a_container_and_what_stands_around_it() {
        let name = "vega-heavy".parse::<crate::value::RunnerName>().unwrap();
        let patience = Duration::from_secs(600);
        let runner = HostRunner {
            name: name.clone(),
            program: "/usr/local/bin/vega-builder".into(),
            caps: Caps::of_variable("memory=2147483648,millicpus=1500,pids=512").unwrap(),
            patience,
            state: "/var/lib/vega-builder/vega-heavy".into(),
            handover: "/run/vega-builder/vega-heavy".into(),
            credential: Some(("github-token", "/etc/vega-builder/github-token".into())),
            pusher: Some(PusherUnit {
                name,
                writer: Writer::UpHost,
                hidden: vec!["/var/lib/vega-builder/vega-heavy/run".into()],
                program: "/usr/local/bin/vega-builder".into(),
                store: "/nix/store".into(),
                queue: "/var/lib/vega-builder/vega-heavy/queue".into(),
                settings: "/var/lib/vega-builder/vega-heavy/cache.json".into(),
                key: Some("/etc/vega-builder/cache-key".into()),
                login: None,
                folder: None,
                patience,
            }),
            sysusers: "u vega-heavy - \"jobs\" /var/empty\n".to_owned(),
        };
        let files = runner.files();
        let all: Vec<_> =
            files.iter().map(|(path, text)| format!("==> {} <==\n{text}\n", path.display())).collect();
        insta::assert_snapshot!(all.concat());
    }
}
