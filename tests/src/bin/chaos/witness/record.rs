//! What people decided, read anew: a second opinion, in a few lines and sharing nothing with the operator's,
//! on what was cleared when.
//!
//! ```text
//!  an Approve counts       it has not ended, nobody revoked and its own giver did not reject since
//!  a version is cleared    every role the level asks for has one that counts, and no Reject stands
//! ```
//!
//! The API server writes whole seconds, and of two decisions in one second the one against running counts. Who
//! knows of one only, though, is right to count it: what was known is told by the order in which they came.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A decision.
#[derive(Clone, Debug)]
pub struct Said {
    /// When it was recorded.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// In which role.
    pub role: String,
    /// `Approve`, `Reject` or `Revoke`.
    pub what: String,
    /// Until when.
    pub end: Option<Timestamp>,
}

/// Which version of which namespace.
pub type Subject = (String, String);

/// Everything that was decided, about each subject in the order in which it came.
#[derive(Clone, Debug, Default)]
pub struct Record {
    decisions: BTreeMap<Subject, Vec<Said>>,
    roles: BTreeMap<String, Vec<String>>,
}

impl Record {
    /// An Approval as the API server told it, after those that came before it; whether it was of what the version is, `digest`, matters to an
    /// Approve only.
    pub fn add(&mut self, approval: &Value, digest: Option<&str>) {
        let (meta, spec) = (&approval["metadata"], &approval["spec"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if spec["decision"] == "Approve" && spec["subjectDigest"].as_str() != digest {
            return;
        }
        let Some(at) = time(&meta["creationTimestamp"]) else { return };
        let subject = (text(&meta["namespace"]), text(&spec["modelVersion"]));
        self.decisions.entry(subject).or_default().push(Said {
            at,
            who: text(&spec["approver"]["user"]),
            role: text(&spec["role"]),
            what: text(&spec["decision"]),
            end: time(&spec["notAfter"]),
        });
    }

    /// The roles that the level of a namespace's system asks for.
    pub fn set_roles(&mut self, namespace: &str, roles: Vec<String>) {
        self.roles.insert(namespace.to_owned(), roles);
    }

    /// What was decided about a version.
    pub fn about(&self, subject: &Subject) -> &[Said] {
        self.decisions.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Whether a version is cleared at `now` for somebody who knows what was decided up to then.
    pub fn cleared(&self, subject: &Subject, now: Timestamp) -> bool {
        let known: Vec<_> = self.about(subject).iter().filter(|said| said.at <= now).collect();
        self.cleared_by(&known, subject, now)
    }

    /// Whether anybody who knew of the decisions up to some instant between two may have held the version
    /// cleared at `now`.
    pub fn cleared_for_somebody(
        &self,
        subject: &Subject,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> bool {
        let all: Vec<_> = self.about(subject).iter().collect();
        // A decision of a second may have been made at its very end.
        let least = all.iter().position(|said| said.at + SignedDuration::from_secs(1) >= from);
        let most = all.iter().rposition(|said| said.at <= to).map_or(0, |last| last + 1);
        (least.unwrap_or(all.len()).min(most)..=most)
            .any(|count| self.cleared_by(&all[..count], subject, now))
    }

    fn cleared_by(&self, known: &[&Said], subject: &Subject, now: Timestamp) -> bool {
        let Some(roles) = self.roles.get(&subject.0) else { return false };
        let said = || known.iter().copied();
        let last = |what: &str, of: &Said| {
            said().filter(|s| s.what == what && s.who == of.who && s.role == of.role).map(|s| s.at).max()
        };
        let revoked = said().filter(|s| s.what == "Revoke").map(|s| s.at).max();
        let rejected =
            said().any(|s| s.what == "Reject" && roles.contains(&s.role) && last("Approve", s) <= Some(s.at));
        let counts = |s: &Said| {
            s.what == "Approve"
                && s.end.is_none_or(|end| now < end)
                && revoked < Some(s.at)
                && last("Reject", s) < Some(s.at)
        };
        !rejected && roles.iter().all(|role| said().any(|s| s.role == *role && counts(s)))
    }

    /// Every instant between two at which it may become another.
    pub fn instants(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let each =
            self.about(subject).iter().flat_map(|said| [Some(said.at), said.end].into_iter().flatten());
        let mut instants: Vec<_> = each.filter(|at| from < *at && *at < to).chain([from, to]).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// The stretches between two instants during which it was certainly not cleared.
    pub fn losses(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let instants = self.instants(subject, from, to);
        let mut losses: Vec<(Timestamp, Timestamp)> = Vec::new();
        for pair in instants.windows(2) {
            if self.cleared(subject, pair[0]) {
                continue;
            }
            match losses.last_mut() {
                Some(last) if last.1 == pair[0] => last.1 = pair[1],
                _ => losses.push((pair[0], pair[1])),
            }
        }
        losses
    }
}

/// An instant as the API server writes it.
pub fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap_or_default()
    }

    fn record(decisions: &[(i64, &str, &str, Option<i64>)]) -> (Record, Subject) {
        let mut record = Record::default();
        record.set_roles("bank", vec!["officer".to_owned()]);
        for (second, who, what, end) in decisions {
            let approval = json!({ "metadata": { "namespace": "bank", "creationTimestamp": at(*second) },
                "spec": { "modelVersion": "v1", "subjectDigest": "d", "decision": what, "role": "officer",
                          "notAfter": end.map(at), "approver": { "user": who } } });
            record.add(&approval, Some("d"));
        }
        (record, ("bank".to_owned(), "v1".to_owned()))
    }

    #[test]
    fn what_counts() {
        let cleared = |decisions: &[_], second| {
            let (record, subject) = record(decisions);
            record.cleared(&subject, at(second))
        };
        let approved = (10, "alice", "Approve", None);
        assert!(!cleared(&[approved], 9) && cleared(&[approved], 10));
        assert!(!cleared(&[approved, (20, "bob", "Revoke", None)], 20));
        assert!(!cleared(&[approved, (10, "bob", "Revoke", None)], 10), "in one second, the one against");
        assert!(cleared(&[(20, "alice", "Approve", None), (10, "bob", "Revoke", None)], 20));
        assert!(cleared(&[(10, "alice", "Approve", Some(20))], 19));
        assert!(!cleared(&[(10, "alice", "Approve", Some(20))], 20));
        assert!(!cleared(&[approved, (20, "bob", "Reject", None)], 20));
        assert!(!cleared(&[approved, (20, "bob", "Reject", None), (30, "alice", "Approve", None)], 30));
        let lifted = [approved, (20, "bob", "Reject", None), (30, "bob", "Approve", Some(40))];
        assert!(cleared(&lifted, 30) && cleared(&lifted, 40), "alice's still counts");
    }

    #[test]
    fn losses_are_stretches() {
        let (record, subject) = record(&[
            (10, "alice", "Approve", Some(20)),
            (30, "alice", "Approve", None),
            (40, "alice", "Revoke", None),
        ]);
        let losses = record.losses(&subject, at(0), at(50));
        assert_eq!(losses, [(at(0), at(10)), (at(20), at(30)), (at(40), at(50))]);
        assert!(record.cleared_for_somebody(&subject, (at(35), at(45)), at(45)));
        assert!(!record.cleared_for_somebody(&subject, (at(42), at(45)), at(45)));
    }

    #[test]
    fn of_two_decisions_in_one_second_somebody_may_know_the_first_only() {
        let (record, subject) = self::record(&[(10, "alice", "Approve", None), (10, "bob", "Revoke", None)]);
        assert!(record.cleared_for_somebody(&subject, (at(5), at(11)), at(10)));
        let (record, subject) = self::record(&[(10, "bob", "Revoke", None), (10, "alice", "Approve", None)]);
        assert!(!record.cleared_for_somebody(&subject, (at(5), at(11)), at(10)));
    }
}
