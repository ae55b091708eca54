//! Expressions (`${{ … }}`), parsed by the field's own crate and evaluated as far as they can be known.
//!
//! The rules are those of actions/runner (`src/Sdk/Expressions`); what a rule does not decide for certain comes to
//! [`Value::Unknown`] or to a choice, never to a guess.

mod evaluate;
mod pattern;
mod template;
mod value;

pub use evaluate::{asks_for_status, evaluate};
pub use pattern::Pattern;
pub use template::{Segment, condition, parse, resolve, segments};
pub use value::{Identity, Object, Part, Value};
