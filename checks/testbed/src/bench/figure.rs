//! One comparison: both sides, their ratio, and the most that it may be.

use std::fmt;

use serde_json::{Value, json};

/// Seconds of both sides of a pair. They take turns in going first: who goes second finds warmer caches.
#[derive(Default)]
pub struct Pair {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pair {
    pub fn rounds(
        count: usize,
        mut ours: impl FnMut(usize) -> anyhow::Result<f64>,
        mut theirs: impl FnMut(usize) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Self> {
        let mut pair = Self::default();
        for round in 0..count {
            if round % 2 == 0 {
                pair.theirs.push(theirs(round)?);
                pair.ours.push(ours(round)?);
            } else {
                pair.ours.push(ours(round)?);
                pair.theirs.push(theirs(round)?);
            }
        }
        Ok(pair)
    }

    pub fn figure(self, name: &'static str, against: &str, bound: f64) -> Figure {
        let spread = [&self.ours, &self.theirs].map(|side| {
            let least = side.iter().copied().fold(f64::INFINITY, f64::min);
            let most = side.iter().copied().fold(0.0, f64::max);
            format!("{least:.3}-{most:.3}")
        });
        println!("{name}: {} rounds, ours {} s, theirs {} s", self.ours.len(), spread[0], spread[1]);
        Figure {
            name,
            ours: median(self.ours),
            theirs: median(self.theirs),
            against: against.to_owned(),
            unit: "s",
            bound,
        }
    }
}

/// One comparison.
pub struct Figure {
    pub name: &'static str,
    pub ours: f64,
    pub theirs: f64,
    pub against: String,
    pub unit: &'static str,
    /// The most that the ratio may be.
    pub bound: f64,
}

impl Figure {
    fn ratio(&self) -> f64 {
        if self.ours == 0.0 { 0.0 } else { self.ours / self.theirs }
    }

    pub fn ok(&self) -> bool {
        self.ratio() <= self.bound
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "ours": self.ours, "theirs": self.theirs, "against": self.against,
            "unit": self.unit, "ratio": self.ratio(), "bound": self.bound, "ok": self.ok(),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok() { "" } else { "  TOO MUCH" };
        write!(
            f,
            "{:<44} {:>7.3} {} {:>7.3} {} {:>6.2} {:>6.2}  against {}{verdict}",
            self.name,
            self.ours,
            self.unit,
            self.theirs,
            self.unit,
            self.ratio(),
            self.bound,
            self.against
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether what one of many takes is what one of a few takes, in µs.
pub fn flat(pair: Pair, name: &'static str) -> Figure {
    Figure { unit: "µs", ..pair.figure(name, "a few", 1.0) }
}

/// A figure of ours alone, against the most that it may be.
pub fn at_most(name: &'static str, ours: f64, most: f64) -> Figure {
    Figure { name, ours, theirs: most, against: "the bound".to_owned(), unit: "MB", bound: 1.0 }
}
