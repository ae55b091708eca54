//! Inside the image: PID 1's settings, its children, GitHub's runner and its registration.

pub mod children;
pub mod credentials;
mod environment;
pub mod event;
mod leftovers;
mod listener;
mod mask;
mod registration;
mod report;
mod supervisor;
pub mod user;

pub use environment::{Environment, EnvironmentError, Mode};
pub use leftovers::kill_leftovers;
pub use listener::{Event, Listener, Verdict};
pub use mask::Mask;
pub use registration::{Registration, RegistrationError};
pub use report::Report;
pub use supervisor::{Ending, Supervisor, say};
