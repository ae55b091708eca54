//! GitHub's runner API, a queue of jobs, and faults on demand.
