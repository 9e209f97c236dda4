//! A watch that restarts with a back-off after each error, and the descriptions of these errors. The pauses after
//! successive errors are 0.5 s, 1 s, 2 s, 4 s, and then always 5 s, each with jitter.

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

/// The minimum and the maximum pause after an error of a watch, without jitter. With the default maximum of kube, 30 s,
/// decisions would take effect too late.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// The time without an error after which the back-off starts from its minimum again.
const RESET_AFTER: Duration = Duration::from_mins(1);

/// The number of objects in a page of a list. The default of kube is 500. A smaller page needs less memory, because the
/// operator holds a whole page in memory while it parses the page.
const PAGE: u32 = 100;

/// Watches all objects of a kind. The stream never ends, because the watch restarts after an error.
pub(super) fn watch_all<K>(
    client: &Client,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K> + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let [min, max] = BACKOFF;
    let delays = ExponentialBuilder::default().with_min_delay(min).with_max_delay(max);
    let delays = ExponentialBackoff::from(delays.without_max_times().with_jitter());
    kube::runtime::watcher(Api::all(client.clone()), watcher::Config::default().page_size(PAGE))
        .backoff(ResetTimerBackoff::new(delays, RESET_AFTER))
}

/// Describes the error of a watch. The text contains no values of objects, because a value can be secret.
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::InitialListFailed(error) => format!("cannot list: {}", describe_request_error(error)),
        Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
            format!("cannot watch: {}", describe_request_error(error))
        }
        Error::WatchError(status) => format!("the watch ended: {}", describe_status(status)),
        Error::NoResourceVersion => "the API server sent no resource version".to_owned(),
    }
}

fn describe_request_error(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => describe_status(status),
        kube::Error::SerdeError(error) => {
            format!(
                "the answer is not a JSON list or event (line {}, column {})",
                error.line(),
                error.column()
            )
        }
        error => format!("the API server cannot be reached: {error}"),
    }
}

fn describe_status(status: &kube::core::Status) -> String {
    let reason = if status.reason.is_empty() { "without a reason" } else { &status.reason };
    let message = if status.message.is_empty() { String::new() } else { format!(": {}", status.message) };
    format!("the API server answers {} {reason}{message}", status.code)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn error_text_contains_the_status_code_and_reason() {
        let forbidden = Status { code: 403, reason: "Forbidden".to_owned(), ..Status::default() };
        let error = Error::InitialListFailed(kube::Error::Api(forbidden.into()));
        assert_eq!(describe(&error), "cannot list: the API server answers 403 Forbidden");
        let gone = Status { code: 410, message: "too old resource version".to_owned(), ..Status::default() };
        let text = describe(&Error::WatchError(gone.into()));
        assert_eq!(
            text,
            "the watch ended: the API server answers 410 without a reason: too old resource version"
        );
    }

    #[test]
    fn unparsable_answer_is_not_quoted() {
        let error = serde_json::from_str::<u8>("\"hunter2\"").expect_err("not a number");
        let text = describe(&Error::WatchFailed(kube::Error::SerdeError(error)));
        assert!(!text.contains("hunter2"), "{text}");
    }
}
