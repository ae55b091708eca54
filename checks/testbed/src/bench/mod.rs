//! What is measured, and against what; both sides of a pair take turns, and their medians are compared.

mod build;
mod figure;
mod life;
mod lint;
mod push;
mod size;
mod up;
mod verify;

pub use build::heavy_build;
pub use figure::Figure;
pub use life::life;
pub use lint::{lint, thousand_workflows};
pub use push::push;
pub use size::{idle_memory, program_size};
pub use up::up;
pub use verify::{conformance, peak_memory, verify};
