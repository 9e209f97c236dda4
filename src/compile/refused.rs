//! Remembers for ten minutes which objects the API server refused because of their content.
//!
//! In this time, the operator writes only a smaller part of a refused Clearance. It does not send a refused status
//! again. After ten minutes, it tries the whole Clearance or status. After any other failure, the operator retries with
//! back-off.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{fingerprint::fingerprint, room::Room};
use crate::{
    lock::lock,
    truncate::{plain, shorten},
};

/// The operator sends a refused object again after this time.
pub const AGAIN_AFTER: Duration = Duration::from_mins(10);

/// The maximum size of an error message in a log or an Event, in bytes. The message of the API server can contain the
/// whole refused object.
const ANSWER_BYTES: usize = 300;

/// The hash of the refused content, and the time of the refusal.
type Contents = (u64, Instant);

/// The refusals of the last ten minutes.
#[derive(Debug, Default)]
pub struct Refused {
    rooms: Mutex<HashMap<String, (Room, Instant)>>,
    statuses: Mutex<HashMap<String, Contents>>,
}

impl Refused {
    /// The largest part of the Clearance of `namespace` that the API server did not refuse in the last ten minutes.
    pub fn room(&self, namespace: &str) -> Room {
        let mut rooms = lock(&self.rooms);
        rooms.retain(|_, (_, at)| at.elapsed() < AGAIN_AFTER);
        rooms.get(namespace).map(|(room, _)| *room).unwrap_or_default()
    }

    pub fn note_room(&self, namespace: &str, room: Room) {
        lock(&self.rooms).insert(namespace.to_owned(), (room, Instant::now()));
    }

    pub fn has_status(&self, object: &str, status: &str) -> bool {
        let mut statuses = lock(&self.statuses);
        statuses.retain(|_, (_, at)| at.elapsed() < AGAIN_AFTER);
        statuses.get(object).is_some_and(|(refused, _)| *refused == fingerprint(status))
    }

    pub fn note_status(&self, object: &str, status: &str) {
        lock(&self.statuses).insert(object.to_owned(), (fingerprint(status), Instant::now()));
    }
}

/// Whether the API server refused the content of the object. A retry would then fail too. If an object is too large for
/// etcd, the API server answers with an internal error, and only the message shows the cause.
pub fn is_refusal(error: &kube::Error) -> bool {
    let kube::Error::Api(answer) = error else { return false };
    matches!(answer.code, 400 | 413 | 422) || answer.message.contains("too large")
}

pub fn answer(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(answer) => answer.message.clone(),
        other => other.to_string(),
    };
    shorten(plain(&text).into_owned(), ANSWER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_its_namespace_or_object() {
        let refused = Refused::default();
        assert_eq!((refused.room("a"), refused.has_status("x", "1")), (Room::Everything, false));
        refused.note_room("a", Room::Losses);
        refused.note_status("x", "1");
        assert_eq!((refused.room("a"), refused.room("b")), (Room::Losses, Room::Everything));
        assert!(
            refused.has_status("x", "1") && !refused.has_status("x", "2") && !refused.has_status("y", "1")
        );
    }

    #[test]
    fn only_a_refusal_of_the_content_is_a_refusal() {
        for (code, message, refusal) in [
            (422, "is invalid", true),
            (400, "control characters are not allowed", true),
            (413, "", true),
            (500, "etcdserver: request is too large", true),
            (500, "etcdserver: leader changed", false),
            (409, "the object has been modified", false),
            (429, "too many requests", false),
        ] {
            let mut status = kube::core::Status::failure(message, "");
            status.code = code;
            assert_eq!(is_refusal(&kube::Error::Api(Box::new(status))), refusal, "{code} {message}");
        }
    }
}
