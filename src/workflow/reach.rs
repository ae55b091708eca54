//! Which jobs can land on the runner, and by whose hand.
//!
//! Every trigger of every workflow is followed in every situation it can bring, through `if`, `needs`, matrices and
//! calls. A way ends only where it is certain that GitHub would end it there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    event::{self, Hand},
    expression::{Object, Value, condition, resolve},
    file::{Job, Trigger, Workflow},
    inputs,
    known::Known,
    matrix::combinations,
    needs,
    runs_on::{Certainty, lacks, lands, show},
    set::{FileId, Set},
    situation::{Situation, situations},
    yaml::{Fault, Node},
};

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: FileId,
    pub start: usize,
    pub end: usize,
}

impl Place {
    pub fn of(file: FileId, span: &Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }

    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A job that can land on the runner.
#[derive(Debug, Clone)]
pub struct Reach {
    pub job: String,
    /// Which of the file's jobs that is.
    pub number: usize,
    /// What it asks for: `runs-on`, or the call that cannot be followed.
    pub place: Place,
    pub key: Place,
    pub certainty: Certainty,
    /// What `runs-on` comes to.
    pub asked: Vec<String>,
    /// Why it cannot be known better.
    pub unfollowed: Option<String>,
    pub starts: Vec<Start>,
}

/// A way to the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub event: String,
    pub hand: Hand,
    pub trigger: Place,
    /// The calls between the workflow that starts and the one that has the job.
    pub calls: Vec<Place>,
    pub certainty: Certainty,
}

/// What was found, and what could not be read.
#[derive(Debug, Default)]
pub struct Found {
    pub reaches: Vec<Reach>,
    pub misses: Vec<Miss>,
    pub faults: Vec<(FileId, Fault)>,
}

/// A job that asks for a runner like this one, and will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub job: String,
    pub key: Place,
    /// What `runs-on` comes to.
    pub asked: String,
    /// What this runner would have to have.
    pub lacks: Vec<String>,
}

impl Reach {
    pub fn by(&self, hand: Hand) -> impl Iterator<Item = &Start> {
        self.starts.iter().filter(move |start| start.hand == hand)
    }
}

/// GitHub follows no more of them from one workflow.
const MOST_CALLS: usize = 50;
const MOST_NESTED: usize = 10;

/// Follow every way through a set of workflows.
pub fn reach(set: &Set, known: &Known) -> Found {
    let mut walk = Walk {
        set,
        known,
        reaches: BTreeMap::new(),
        misses: BTreeMap::new(),
        faults: Vec::new(),
        calls_left: 0,
    };
    for (file, workflow) in set.own() {
        let mut seen = BTreeSet::from([event::CALL.to_owned()]);
        for trigger in workflow.triggers().iter().filter(|trigger| seen.insert(trigger.event.clone())) {
            let upstream = upstream(set, trigger);
            for situation in situations(trigger, known, &upstream) {
                walk.calls_left = MOST_CALLS;
                let inputs = inputs::of_event(trigger);
                let trigger = Place::of(file, &trigger.span);
                let way = Way { situation: &situation, trigger, calls: Vec::new() };
                walk.workflow(file, workflow, inputs, &way);
            }
        }
    }
    let mut faults: Vec<(FileId, Fault)> = Vec::new();
    for fault in walk.faults {
        // Every situation finds it again.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    // What another of its combinations brings here comes.
    let comes = |miss: &Miss| walk.reaches.keys().any(|(key, _)| *key == miss.key);
    let misses = walk.misses.into_values().filter(|miss| !comes(miss)).collect();
    Found { reaches: walk.reaches.into_values().collect(), misses, faults }
}

/// The events of the workflows that a `workflow_run` waits for, other than pull requests, which anyone can cause.
fn upstream(set: &Set, trigger: &Trigger<'_>) -> Vec<&'static str> {
    if trigger.event != "workflow_run" {
        return Vec::new();
    }
    let names =
        trigger.filter.and_then(|filter| filter.get("workflows")).map(super::file::texts).unwrap_or_default();
    let is_here = |name: &String| set.own().any(|(_, workflow)| workflow.name() == name);
    let unknown = names.is_empty() || !names.iter().all(is_here);
    let listens = |event: &str| {
        let waited_for = |workflow: &Workflow| names.iter().any(|name| name == workflow.name());
        let to_it = |workflow: &Workflow| workflow.triggers().iter().any(|trigger| trigger.event == event);
        unknown || set.own().any(|(_, workflow)| waited_for(workflow) && to_it(workflow))
    };
    event::FROM_ANYONE.into_iter().filter(|event| listens(event)).collect()
}

struct Walk<'a> {
    set: &'a Set,
    known: &'a Known,
    reaches: BTreeMap<(Place, Option<String>), Reach>,
    misses: BTreeMap<Place, Miss>,
    faults: Vec<(FileId, Fault)>,
    calls_left: usize,
}

/// How the walk came to where it is.
struct Way<'a> {
    situation: &'a Situation,
    trigger: Place,
    calls: Vec<Place>,
}

impl Walk<'_> {
    fn workflow(&mut self, file: FileId, workflow: &Workflow, inputs: Value, way: &Way<'_>) {
        let mut contexts = Object::new(
            vec![("github", way.situation.github.clone()), ("inputs", inputs), ("vars", self.known.vars())],
            true,
        );
        let jobs: needs::Jobs<'_> = workflow.jobs().into_iter().map(|job| (job.id, job)).collect();
        let skipped = match needs::skipped(&jobs, &mut contexts) {
            Ok(skipped) => skipped,
            Err(fault) => return self.faults.push((file, fault)),
        };
        for job in jobs.values().filter(|job| !skipped.contains(job.id)) {
            contexts.set("needs", needs::context(job, &jobs, &contexts));
            if let Err(fault) = self.job(file, *job, &mut contexts, way) {
                self.faults.push((file, fault));
            }
        }
    }

    fn job(&mut self, file: FileId, job: Job<'_>, contexts: &mut Object, way: &Way<'_>) -> Result<(), Fault> {
        contexts.set("matrix", Value::Unknown);
        contexts.set("strategy", Value::Unknown);
        for matrix in combinations(job.body.get("strategy"), contexts)? {
            contexts.set("matrix", matrix);
            if let Some(uses) = job.body.get("uses") {
                self.call(file, job, uses, contexts, way)?;
            } else if let Some(runs_on) = job.body.get("runs-on") {
                let asked = resolve(runs_on, contexts)?;
                if let Some(certainty) = lands(&asked, self.known) {
                    self.record(file, job, runs_on, certainty, show(&asked), None, way);
                } else if let Some(lacks) = lacks(&asked, self.known) {
                    let key = Place::of(file, job.key);
                    let miss = Miss { job: job.id.to_owned(), key: key.clone(), asked: show(&asked), lacks };
                    self.misses.entry(key).or_insert(miss);
                }
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        file: FileId,
        job: Job<'_>,
        uses: &Node,
        contexts: &Object,
        way: &Way<'_>,
    ) -> Result<(), Fault> {
        let name = uses.text().unwrap_or_default();
        let place = Place::of(file, &uses.span);
        let called = self.set.called(file, name);
        let Some((id, workflow)) = called.and_then(|id| Some((id, self.set.get(id)?))) else {
            let why = match called {
                Some(_) => format!("{name} cannot be read"),
                None => format!("{name} is not here"),
            };
            self.record(file, job, uses, Certainty::MayReach, String::new(), Some(why), way);
            return Ok(());
        };
        // GitHub refuses what calls itself.
        if id == way.trigger.file || way.calls.iter().any(|call| call.file == id) {
            return Ok(());
        }
        if self.calls_left == 0 || way.calls.len() >= MOST_NESTED {
            let why = format!(
                "more than {MOST_CALLS} calls from one workflow, or {MOST_NESTED} within one another"
            );
            self.record(file, job, uses, Certainty::MayReach, String::new(), Some(why), way);
            return Ok(());
        }
        self.calls_left -= 1;
        let given = job.body.get("with").map(|with| resolve(with, contexts)).transpose()?;
        let inputs = inputs::of_call(workflow.call().as_ref(), given, contexts).map_err(|fault| {
            self.faults.push((id, fault));
            Fault::new(uses.span.clone(), format!("{name} cannot be read"))
        })?;
        let mut calls = way.calls.clone();
        calls.push(place);
        self.workflow(
            id,
            workflow,
            inputs,
            &Way { situation: way.situation, trigger: way.trigger.clone(), calls },
        );
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn record(
        &mut self,
        file: FileId,
        job: Job<'_>,
        asks: &Node,
        certainty: Certainty,
        asked: String,
        unfollowed: Option<String>,
        way: &Way<'_>,
    ) {
        let place = Place::of(file, &asks.span);
        let key = Place::of(file, job.key);
        let reach = self.reaches.entry((key.clone(), unfollowed.clone())).or_insert_with(|| Reach {
            job: job.id.to_owned(),
            number: job.number,
            place,
            key,
            certainty,
            asked: Vec::new(),
            unfollowed,
            starts: Vec::new(),
        });
        reach.certainty = reach.certainty.max(certainty);
        if !asked.is_empty() && !reach.asked.contains(&asked) {
            reach.asked.push(asked);
        }
        let start = Start {
            event: way.situation.event.clone(),
            hand: way.situation.hand,
            trigger: way.trigger.clone(),
            calls: way.calls.clone(),
            certainty,
        };
        let same = |known: &&mut Start| {
            (&known.event, known.hand, &known.trigger, &known.calls)
                == (&start.event, start.hand, &start.trigger, &start.calls)
        };
        match reach.starts.iter_mut().find(same) {
            Some(known) => known.certainty = known.certainty.max(certainty),
            None => reach.starts.push(start),
        }
    }
}

/// Whether a job's `if` is certain to keep it from running.
pub fn never(job: &Job<'_>, contexts: &Object) -> Result<(bool, bool), Fault> {
    let Some(node) = job.body.get("if") else { return Ok((false, false)) };
    let (value, asks_for_status) = condition(node, contexts)?;
    Ok((value.truth() == Some(false), asks_for_status))
}
