//! The metrics by name, each with what it means.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::{
    sample::{Running, Sample},
    waiting::BOUNDS,
};
use crate::{
    cache::queue,
    chronicle::{JobResult, Totals},
    engine::Limit,
};

/// Every family that has a value.
pub fn families(samples: &[Sample]) -> Vec<MetricFamily> {
    let mut all = vec![runners(samples), information(samples)];
    all.extend(states(samples));
    all.extend(work(samples));
    all.push(waiting(samples));
    all.extend(caps(samples));
    all.extend(store(samples));
    all.extend(uploads(samples));
    all.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
}

const GAUGE: MetricType = MetricType::GAUGE;
const COUNTER: MetricType = MetricType::COUNTER;

fn states(samples: &[Sample]) -> [MetricFamily; 5] {
    let gauge = |name, help, value: fn(&Sample) -> Option<f64>| of(samples, name, help, GAUGE, value);
    [
        gauge("online", "Whether the runner listens or is at work.", |at| Some(truth(at.is_online()))),
        gauge("busy", "Whether a job runs.", |at| Some(truth(at.is_busy()))),
        gauge("drained", "Whether it is to take no jobs.", |at| Some(truth(at.is_drained))),
        gauge("sandbox", "Whether builds are proven to run in Nix's sandbox.", |at| {
            at.state.as_ref()?.sandbox.map(truth)
        }),
        of(
            samples,
            "container_restarts_total",
            "How often the engine started the container again.",
            COUNTER,
            |at| at.restarts.map(exact),
        ),
    ]
}

fn work(samples: &[Sample]) -> [MetricFamily; 4] {
    let counter = |name, help, value: fn(&Totals) -> f64| {
        of(samples, name, help, COUNTER, move |at| at.totals.as_ref().map(value))
    };
    [
        jobs(samples),
        counter("job_seconds_total", "Seconds in which a job ran.", |all| all.busy_seconds),
        counter("starts_total", "How often the container began to work.", |all| exact(all.starts)),
        counter(
            "troubles_total",
            "How often something new kept it from listening; the same again is not counted.",
            |all| exact(all.troubles),
        ),
    ]
}

/// What the kernel holds it to, and what it takes of that.
fn caps(samples: &[Sample]) -> [MetricFamily; 9] {
    let of = |name, help, kind, value: fn(&Running) -> Option<f64>| {
        of(samples, name, help, kind, move |at| at.running.as_ref().and_then(value))
    };
    [
        of("memory_bytes", "Memory that the container takes.", GAUGE, |at| {
            Some(exact(at.usage.memory_bytes))
        }),
        of("memory_peak_bytes", "The most that it took since its start.", GAUGE, |at| {
            Some(exact(at.usage.memory_peak_bytes))
        }),
        of("memory_limit_bytes", "What the kernel holds it to.", GAUGE, |at| {
            limit(at.in_force.as_ref()?.memory_max)
        }),
        of(
            "oom_kills_total",
            "Processes that were killed at the memory cap, since its start.",
            COUNTER,
            |at| Some(exact(at.usage.oom_kills)),
        ),
        of("cpu_seconds_total", "Processor time that it took.", COUNTER, |at| Some(at.usage.cpu_seconds)),
        of(
            "cpu_throttled_seconds_total",
            "How long it wanted more processors than it may have.",
            COUNTER,
            |at| Some(at.usage.throttled_seconds),
        ),
        of("cpu_limit_cores", "Processors that the kernel holds it to.", GAUGE, |at| {
            limit(at.in_force.as_ref()?.cpu_max).map(|millis| millis / 1000.0)
        }),
        of("pids", "Processes and threads.", GAUGE, |at| Some(exact(at.usage.pids))),
        of("pids_limit", "What the kernel holds it to.", GAUGE, |at| limit(at.in_force.as_ref()?.pids_max)),
    ]
}

fn store(samples: &[Sample]) -> [MetricFamily; 4] {
    let of = |name, help, kind, value: fn(&Totals) -> Option<f64>| {
        of(samples, name, help, kind, move |at| at.totals.as_ref().and_then(value))
    };
    [
        of("store_bytes", "What the Nix store held at the last look.", GAUGE, |all| {
            all.store_bytes.map(exact)
        }),
        of("garbage_collections_total", "How often garbage was collected.", COUNTER, |all| {
            Some(exact(all.collections))
        }),
        of("garbage_collected_bytes_total", "What that freed.", COUNTER, |all| {
            Some(exact(all.collected_bytes))
        }),
        of("garbage_collection_seconds_total", "How long that took.", COUNTER, |all| {
            Some(all.collecting_seconds)
        }),
    ]
}

fn uploads(samples: &[Sample]) -> [MetricFamily; 5] {
    let of = |name, help, kind, value: fn(&queue::State) -> f64| {
        of(samples, name, help, kind, move |at| at.uploads.as_ref().map(value))
    };
    [
        of("uploads_waiting", "Builds that wait for their upload.", GAUGE, |said| exact(said.waiting as u64)),
        of("uploads_pushed_total", "Store paths that were pushed.", COUNTER, |said| exact(said.pushed)),
        of("uploads_pushed_bytes_total", "Their compressed bytes.", COUNTER, |said| exact(said.bytes)),
        of("uploads_dropped_total", "Builds that found the queue full.", COUNTER, |said| exact(said.dropped)),
        of("uploads_failing", "Whether the cache takes nothing now.", GAUGE, |said| {
            truth(!said.error.is_empty())
        }),
    ]
}

fn of(
    samples: &[Sample],
    name: &str,
    help: &str,
    kind: MetricType,
    value: impl Fn(&Sample) -> Option<f64>,
) -> MetricFamily {
    let metrics =
        samples.iter().filter_map(|sample| Some(metric(&[("runner", &sample.name)], kind, value(sample)?)));
    family(name, help, kind, metrics.collect())
}

fn runners(samples: &[Sample]) -> MetricFamily {
    let count = exact(samples.len() as u64);
    family(
        "runners",
        "Runners that are installed here.",
        MetricType::GAUGE,
        vec![metric(&[], MetricType::GAUGE, count)],
    )
}

/// What does not change from one look to the next, as labels.
fn information(samples: &[Sample]) -> MetricFamily {
    let metrics = samples.iter().filter_map(|sample| {
        let identity = &sample.known.as_ref()?.identity;
        let (scope, labels) = (identity.scope.to_string(), identity.labels.to_string());
        let (image, digest) = match &sample.record {
            Some(record) => (record.image.as_str(), record.digest.as_str()),
            None => ("", ""),
        };
        let labels = [
            ("runner", sample.name.as_str()),
            ("repository", &scope),
            ("labels", &labels),
            ("image", image),
            ("digest", digest),
            ("engine", sample.housing),
        ];
        Some(metric(&labels, MetricType::GAUGE, 1.0))
    });
    family("info", "What runs, from which image.", MetricType::GAUGE, metrics.collect())
}

/// Of every result, so that none is missing before it comes for the first time. No job has a say in the labels.
fn jobs(samples: &[Sample]) -> MetricFamily {
    let metrics = samples.iter().filter_map(|sample| Some((sample, sample.totals.as_ref()?))).flat_map(
        |(sample, totals)| {
            JobResult::ALL.map(|result| {
                let count = totals.jobs.get(&result).copied().unwrap_or_default();
                metric(
                    &[("runner", &sample.name), ("result", result.as_str())],
                    MetricType::COUNTER,
                    exact(count),
                )
            })
        },
    );
    family("jobs_total", "Jobs that ended, by their result.", MetricType::COUNTER, metrics.collect())
}

/// How long jobs waited; nothing of a runner whose jobs nobody asked about yet.
fn waiting(samples: &[Sample]) -> MetricFamily {
    let asked = samples.iter().filter(|sample| sample.waiting.count > 0);
    let metrics = asked.map(|Sample { name, waiting, .. }| {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&waiting.buckets).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(waiting.count);
        histogram.set_sample_sum(waiting.seconds);
        let mut metric = metric(&[("runner", name)], GAUGE, 0.0);
        metric.set_histogram(histogram);
        metric
    });
    let help = "From a job's creation at GitHub to its start here.";
    family("job_queue_seconds", help, MetricType::HISTOGRAM, metrics.collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("vega_builder_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn metric(labels: &[(&str, &str)], kind: MetricType, value: f64) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn exact(count: u64) -> f64 {
    count as f64
}

fn limit(limit: Limit) -> Option<f64> {
    if let Limit::Value(value) = limit { Some(exact(value)) } else { None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus::TextEncoder;

    use super::{Sample, caps, families, information, runners, states, store, uploads, waiting, work};
    use crate::chronicle::{Event, JobResult, Totals};

    /// Those too that have no value here.
    fn every_name() -> BTreeSet<String> {
        let families = [runners(&[]), information(&[])].into_iter().chain(states(&[])).chain(work(&[]));
        let families = families.chain([waiting(&[])]).chain(caps(&[])).chain(store(&[])).chain(uploads(&[]));
        families.map(|family| family.name().to_owned()).collect()
    }

    #[test]
    fn every_runner_is_told_of_as_far_as_it_is_known() {
        let mut totals = Totals::default();
        totals.add(&Event::JobEnded {
            job: "evil\"} 1\nvega_builder_jobs_total 99".to_owned(),
            result: JobResult::Failed,
            seconds: 12.5,
            oom_kills: 1,
            run: None,
        });
        let samples = [
            Sample { name: "vega-a".to_owned(), totals: Some(totals), ..Sample::default() },
            Sample { name: "vega-b".to_owned(), ..Sample::default() },
        ];
        let text = TextEncoder::new().encode_to_string(&families(&samples)).unwrap();
        for line in [
            "vega_builder_runners 2",
            "# TYPE vega_builder_jobs_total counter",
            "vega_builder_jobs_total{runner=\"vega-a\",result=\"failed\"} 1",
            "vega_builder_jobs_total{runner=\"vega-a\",result=\"succeeded\"} 0",
            "vega_builder_job_seconds_total{runner=\"vega-a\"} 12.5",
            "vega_builder_online{runner=\"vega-b\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}:\n{text}");
        }
        let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana.json");
        let asked: serde_json::Value = serde_json::from_slice(&std::fs::read(dashboard).unwrap()).unwrap();
        let asked = asked.to_string();
        let words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: BTreeSet<&str> = words.filter(|word| word.starts_with("vega_builder_")).collect();
        let have = every_name();
        for name in &names {
            let name = name.trim_end_matches("_bucket");
            assert!(have.contains(name), "the dashboard asks for {name}, which nobody gives");
        }
        assert!(names.len() > 15, "{names:?}");
        assert!(!text.contains("evil") && !text.contains("memory_bytes"), "{text}");
    }
}
