//! How long a broken watch waits before it begins again, and what is said about it.
//!
//! ```text
//!  list ─► watch ─► Event …     broken ─► 0.5 s ─► 1 s ─► 2 s ─► 4 s ─► 5 s ─► 5 s …, with jitter
//! ```

use std::{fmt::Debug, time::Duration};

use backon::ExponentialBuilder;
use futures::Stream;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        utils::ResetTimerBackoff,
        watcher::{self, Error, Event, ExponentialBackoff},
    },
};
use serde::de::DeserializeOwned;

/// The first and the longest wait before a broken watch begins again. The Kubernetes default, up to half a
/// minute, is for clients that can wait.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long a watch must hold for the next wait to be the first again.
const RECOVERED: Duration = Duration::from_mins(1);

/// Watches every object of a kind for ever; after an error it goes on by itself.
pub(super) fn watch_all<K>(
    client: &Client,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K> + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let [first, longest] = WAITS;
    let waits = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest);
    let waits = ExponentialBackoff::from(waits.without_max_times().with_jitter());
    kube::runtime::watcher(Api::all(client.clone()), watcher::Config::default())
        .backoff(ResetTimerBackoff::new(waits, RECOVERED))
}

/// What broke a watch, in plain words and without anything of an object.
pub(super) fn in_words(error: &Error) -> String {
    match error {
        Error::InitialListFailed(error) => format!("cannot list: {}", answer_in_words(error)),
        Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
            format!("cannot watch: {}", answer_in_words(error))
        }
        Error::WatchError(status) => format!("the watch ended: {}", status_in_words(status)),
        Error::NoResourceVersion => "the API server names no resource version".to_owned(),
    }
}

fn answer_in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status_in_words(status),
        kube::Error::SerdeError(error) => {
            format!(
                "the answer is not JSON of a list or an event (line {}, column {})",
                error.line(),
                error.column()
            )
        }
        error => format!("the API server cannot be reached: {error}"),
    }
}

fn status_in_words(status: &kube::core::Status) -> String {
    let reason = if status.reason.is_empty() { "without a reason" } else { &status.reason };
    let message = if status.message.is_empty() { String::new() } else { format!(": {}", status.message) };
    format!("the API server answers {} {reason}{message}", status.code)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_error_names_code_and_reason_in_plain_words() {
        let forbidden = Status { code: 403, reason: "Forbidden".to_owned(), ..Status::default() };
        let error = Error::InitialListFailed(kube::Error::Api(forbidden.into()));
        assert_eq!(in_words(&error), "cannot list: the API server answers 403 Forbidden");
        let gone = Status { code: 410, message: "too old resource version".to_owned(), ..Status::default() };
        let said = in_words(&Error::WatchError(gone.into()));
        assert_eq!(
            said,
            "the watch ended: the API server answers 410 without a reason: too old resource version"
        );
    }

    #[test]
    fn an_answer_that_does_not_parse_is_not_quoted() {
        let error = serde_json::from_str::<u8>("\"hunter2\"").expect_err("no number");
        let said = in_words(&Error::WatchFailed(kube::Error::SerdeError(error)));
        assert!(!said.contains("hunter2"), "{said}");
    }
}
