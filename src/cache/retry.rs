//! Try again what may go better a moment later.

use std::{future::Future, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};

use super::Error;

/// Nobody waits longer for a cache that asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Five times at most, with pauses that grow to 30 s, each cut at random so that many clients do not come back at once.
pub async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    request: impl FnMut() -> F,
) -> Result<T, Error> {
    let again = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .with_max_times(4);
    request
        .retry(again)
        .when(Error::is_passing)
        .adjust(|error: &Error, delay| {
            let delay = delay?.mul_f64(fastrand::f64());
            match error.retry_after() {
                Some(wanted) if wanted > LONGEST_WAIT => None,
                wanted => Some(wanted.unwrap_or_default().max(delay)),
            }
        })
        .await
}

/// The same for a file whose address has an end: once that has come in the middle, one more address is asked for.
pub async fn delivered<T, F: Future<Output = Result<T, Error>>>(
    mut request: impl FnMut() -> F,
) -> Result<T, Error> {
    match patiently(&mut request).await {
        Err(Error::Lapsed { .. }) => patiently(request).await,
        other => other,
    }
}
