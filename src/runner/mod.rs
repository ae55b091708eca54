//! Inside the image: PID 1's settings, its children, GitHub's runner and its registration.

pub mod children;
mod clock;
pub mod credentials;
mod describer;
mod environment;
pub mod event;
mod garbage;
mod jit;
mod leftovers;
mod life;
mod listener;
mod mask;
pub mod pace;
mod proof;
mod pulse;
mod registration;
mod report;
pub mod stop;
mod supervisor;
mod tidy;
mod token;
pub mod user;
mod vault;

pub use clock::Clock;
pub use describer::Describer;
pub use environment::{Environment, EnvironmentError, Mode, Uploads};
pub use garbage::Garbage;
pub use jit::{JitConfig, JitError};
pub use leftovers::end_all;
pub use listener::{Event, Listener, Verdict};
pub use mask::Mask;
pub use registration::{Registration, RegistrationError};
pub use report::{Report, say, say_line};
pub use supervisor::{ASKED, Disk, Ending, Supervisor};
pub use tidy::tidy;
pub use vault::Vault;
