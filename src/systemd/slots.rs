//! The service that keeps an ephemeral runner's slots: our own program, which makes a container for every job.

use super::{
    RESTARTS, SPARE, Unit,
    text::{path, rest},
};
use crate::engine::CANCELLING;

pub fn service(unit: &Unit<'_>) -> String {
    let (name, program) = (&unit.container.name, path(&unit.program));
    let patience = (unit.container.patience.0 + CANCELLING + SPARE).as_secs();
    let credential = unit
        .credential
        .as_ref()
        .map_or_else(String::new, |(name, file)| format!("LoadCredential={name}:{}\n", rest(file)));
    let after = if unit.is_podman { "" } else { "Requires=docker.service\nAfter=docker.service\n" };
    format!(
        "{head}{after}\n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         {credential}\
         ExecCondition={program} can-start {name}\n\
         ExecStart={program} slots {name}\n\
         # A changed unit does not end a job: containers that have none are made anew.\n\
         ExecReload={program} prepare --ahead {name}\n\
         ExecReload={program} slots --reload {name}\n\
         # Its containers are not its children's to lose: should it die, the next one goes on with them.\n\
         KillMode=process\n\
         # The first start downloads an image.\n\
         TimeoutStartSec=infinity\n\
         TimeoutStopSec={patience}\n\
         {RESTARTS}\
         LimitNOFILE=1048576\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        head = unit.head(),
    )
}
