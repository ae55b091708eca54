//! The paths on their way: a NAR may go at any time, a narinfo when all that its path refers to has its own.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use harmonia_store_core::store_path::StorePath;

use super::{Outcome, Push, Refused, depends, nar::Limits};
use crate::cache::{Error, PathInfo, narinfo::File};

/// At most so much is pushed again after a crash.
const COMMITTED: Duration = Duration::from_secs(5);

/// Where a path stands.
struct Node {
    info: PathInfo,
    /// How many of those that it refers to are not announced yet.
    waits: usize,
    dependents: Vec<usize>,
    file: Option<File>,
}

enum Done {
    Nar(Result<File, Error>),
    Announced(Result<(), Error>),
}

type Work<'a> = Pin<Box<dyn Future<Output = (usize, Done)> + Send + 'a>>;

pub struct Sending<'a> {
    push: &'a Arc<Push>,
    limits: Arc<Limits>,
    nodes: Vec<Node>,
    outcome: &'a mut Outcome,
    bad: HashSet<StorePath>,
}

impl<'a> Sending<'a> {
    /// References come first in `infos`.
    pub fn new(push: &'a Arc<Push>, infos: Vec<PathInfo>, outcome: &'a mut Outcome) -> Self {
        let at: HashMap<StorePath, usize> =
            infos.iter().enumerate().map(|(at, info)| (info.path.clone(), at)).collect();
        let below: Vec<Vec<usize>> = infos
            .iter()
            .map(|info| info.others().filter_map(|path| at.get(path).copied()).collect())
            .collect();
        let mut nodes: Vec<Node> = infos
            .into_iter()
            .zip(&below)
            .map(|(info, below)| Node { info, waits: below.len(), dependents: Vec::new(), file: None })
            .collect();
        for (index, below) in below.into_iter().enumerate() {
            for reference in below {
                nodes[reference].dependents.push(index);
            }
        }
        Self { push, limits: Arc::new(Limits::new()), nodes, outcome, bad: HashSet::new() }
    }

    pub async fn run(mut self) -> Result<(), Error> {
        let ended = self.work().await;
        // What was announced before a failure need not be pushed again.
        self.push.place.commit().await?;
        ended
    }

    async fn work(&mut self) -> Result<(), Error> {
        let mut committed = Instant::now();
        let mut work: FuturesUnordered<Work<'a>> = FuturesUnordered::new();
        let (mut next, mut nars) = (0, 0);
        loop {
            while next < self.nodes.len() && nars < self.push.place.width() {
                if !self.bad.contains(&self.nodes[next].info.path) {
                    work.push(self.nar(next));
                    nars += 1;
                }
                next += 1;
            }
            let Some((index, done)) = work.next().await else { return Ok(()) };
            if committed.elapsed() > COMMITTED {
                self.push.place.commit().await?;
                committed = Instant::now();
            }
            match done {
                Done::Nar(Ok(file)) => {
                    nars -= 1;
                    self.nodes[index].file = Some(file);
                    work.extend(self.ready(index));
                }
                Done::Nar(Err(why)) if why.is_of_its_path() => {
                    nars -= 1;
                    self.refuse(index, why.to_string());
                }
                Done::Announced(Ok(())) => {
                    self.outcome.pushed.push(self.nodes[index].info.path.clone());
                    for dependent in std::mem::take(&mut self.nodes[index].dependents) {
                        self.nodes[dependent].waits -= 1;
                        work.extend(self.ready(dependent));
                    }
                }
                Done::Nar(Err(why)) | Done::Announced(Err(why)) => return Err(why),
            }
        }
    }

    fn nar(&self, index: usize) -> Work<'a> {
        let (push, limits, info) = (self.push, self.limits.clone(), self.nodes[index].info.clone());
        Box::pin(async move { (index, Done::Nar(push.send_nar(&limits, &info).await)) })
    }

    /// The narinfo, when its time has come.
    fn ready(&self, index: usize) -> Option<Work<'a>> {
        let node = &self.nodes[index];
        if node.waits > 0 || self.bad.contains(&node.info.path) {
            return None;
        }
        let (push, info, file) = (self.push, node.info.clone(), node.file.clone()?);
        Some(Box::pin(async move { (index, Done::Announced(push.announce(&info, &file).await)) }))
    }

    /// This path stays here, and so does all that depends on it.
    fn refuse(&mut self, index: usize, why: String) {
        let mut left = vec![(index, why)];
        while let Some((index, why)) = left.pop() {
            let path = self.nodes[index].info.path.clone();
            if self.bad.insert(path.clone()) {
                self.outcome.refused.push(Refused { path, why });
                let dependents = self.nodes[index].dependents.iter();
                left.extend(
                    dependents.filter_map(|at| Some((*at, depends(&self.nodes[*at].info, &self.bad)?))),
                );
            }
        }
    }
}
