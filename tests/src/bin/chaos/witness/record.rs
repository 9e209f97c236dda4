//! Computes from the decisions when each version was cleared. This Rust module shares no code with the operator.
//!
//! ```text
//!  an Approve counts       it has not expired, and there is no later Revoke, and no later Reject by the same person in
//!                          the same role
//!  a version is cleared    every required role has an Approve that counts, and no Reject in a required role counts
//! ```
//!
//! The API server records whole seconds. If two decisions have the same second, the decision against the version takes
//! precedence. But an operator can act after it received the first decision and before it received the second. So
//! [`Record::may_have_been_cleared`] judges with the oldest n decisions, for each possible n.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A decision of a person: the content of one Approval.
#[derive(Clone, Debug)]
pub struct Decision {
    pub at: Timestamp,
    pub who: String,
    pub role: String,
    /// What the person decided: `Approve`, `Reject` or `Revoke`.
    pub what: String,
    /// `notAfter` of the Approval.
    pub end: Option<Timestamp>,
}

/// A namespace, and the name of a version in it.
pub type Subject = (String, String);

/// All decisions about each version, in the order of their arrival, and the roles that each namespace requires.
#[derive(Clone, Debug, Default)]
pub struct Record {
    decisions: BTreeMap<Subject, Vec<Decision>>,
    roles: BTreeMap<String, Vec<String>>,
}

impl Record {
    /// Adds an Approval after all earlier Approvals. Ignores an Approve for another digest than `digest`, the digest of
    /// the version.
    pub fn add(&mut self, approval: &Value, digest: Option<&str>) {
        let (meta, spec) = (&approval["metadata"], &approval["spec"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if spec["decision"] == "Approve" && spec["subjectDigest"].as_str() != digest {
            return;
        }
        let Some(at) = time(&meta["creationTimestamp"]) else { return };
        let subject = (text(&meta["namespace"]), text(&spec["modelVersion"]));
        self.decisions.entry(subject).or_default().push(Decision {
            at,
            who: text(&spec["approver"]["user"]),
            role: text(&spec["role"]),
            what: text(&spec["decision"]),
            end: time(&spec["notAfter"]),
        });
    }

    /// Sets the roles that the risk level in `namespace` requires.
    pub fn set_roles(&mut self, namespace: &str, roles: Vec<String>) {
        self.roles.insert(namespace.to_owned(), roles);
    }

    pub fn about(&self, subject: &Subject) -> &[Decision] {
        self.decisions.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Whether a version is cleared at `now` by the decisions up to `now`.
    pub fn cleared(&self, subject: &Subject, now: Timestamp) -> bool {
        let known: Vec<_> = self.about(subject).iter().filter(|decision| decision.at <= now).collect();
        self.cleared_by(&known, subject, now)
    }

    /// Whether the version may have been cleared at `now`: the decisions up to some instant between `from` and `to`
    /// clear it.
    pub fn may_have_been_cleared(
        &self,
        subject: &Subject,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> bool {
        let all: Vec<_> = self.about(subject).iter().collect();
        // The API server records times without fractions of a second. So a person may have decided up to a second later
        // than the recorded time.
        let least = all.iter().position(|decision| decision.at + SignedDuration::from_secs(1) >= from);
        let most = all.iter().rposition(|decision| decision.at <= to).map_or(0, |last| last + 1);
        (least.unwrap_or(all.len()).min(most)..=most)
            .any(|count| self.cleared_by(&all[..count], subject, now))
    }

    fn cleared_by(&self, known: &[&Decision], subject: &Subject, now: Timestamp) -> bool {
        let Some(roles) = self.roles.get(&subject.0) else { return false };
        let decisions = || known.iter().copied();
        let last = |what: &str, of: &Decision| {
            decisions().filter(|s| s.what == what && s.who == of.who && s.role == of.role).map(|s| s.at).max()
        };
        let revoked = decisions().filter(|s| s.what == "Revoke").map(|s| s.at).max();
        let rejected = decisions()
            .any(|s| s.what == "Reject" && roles.contains(&s.role) && last("Approve", s) <= Some(s.at));
        let counts = |s: &Decision| {
            s.what == "Approve"
                && s.end.is_none_or(|end| now < end)
                && revoked < Some(s.at)
                && last("Reject", s) < Some(s.at)
        };
        !rejected && roles.iter().all(|role| decisions().any(|s| s.role == *role && counts(s)))
    }

    /// `from`, `to`, and all instants between them at which a version can become cleared or withheld.
    pub fn instants(&self, subject: &Subject, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let each = self
            .about(subject)
            .iter()
            .flat_map(|decision| [Some(decision.at), decision.end].into_iter().flatten());
        let mut instants: Vec<_> = each.filter(|at| from < *at && *at < to).chain([from, to]).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// The periods from `from` to `to` in which a version was not cleared.
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
    fn an_approve_counts_until_it_expires_or_is_revoked_or_rejected() {
        let cleared = |decisions: &[_], second| {
            let (record, subject) = record(decisions);
            record.cleared(&subject, at(second))
        };
        let approved = (10, "alice", "Approve", None);
        assert!(!cleared(&[approved], 9) && cleared(&[approved], 10));
        assert!(!cleared(&[approved, (20, "bob", "Revoke", None)], 20));
        assert!(
            !cleared(&[approved, (10, "bob", "Revoke", None)], 10),
            "in one second, the decision against counts"
        );
        assert!(cleared(&[(20, "alice", "Approve", None), (10, "bob", "Revoke", None)], 20));
        assert!(cleared(&[(10, "alice", "Approve", Some(20))], 19));
        assert!(!cleared(&[(10, "alice", "Approve", Some(20))], 20));
        assert!(!cleared(&[approved, (20, "bob", "Reject", None)], 20));
        assert!(!cleared(&[approved, (20, "bob", "Reject", None), (30, "alice", "Approve", None)], 30));
        let withdrawn = [approved, (20, "bob", "Reject", None), (30, "bob", "Approve", Some(40))];
        assert!(cleared(&withdrawn, 30) && cleared(&withdrawn, 40), "alice's approval still counts");
    }

    #[test]
    fn losses_are_the_periods_without_a_valid_approval() {
        let (record, subject) = record(&[
            (10, "alice", "Approve", Some(20)),
            (30, "alice", "Approve", None),
            (40, "alice", "Revoke", None),
        ]);
        let losses = record.losses(&subject, at(0), at(50));
        assert_eq!(losses, [(at(0), at(10)), (at(20), at(30)), (at(40), at(50))]);
        assert!(record.may_have_been_cleared(&subject, (at(35), at(45)), at(45)));
        assert!(!record.may_have_been_cleared(&subject, (at(42), at(45)), at(45)));
    }

    #[test]
    fn an_operator_may_know_only_the_first_of_two_decisions_in_one_second() {
        let (record, subject) = self::record(&[(10, "alice", "Approve", None), (10, "bob", "Revoke", None)]);
        assert!(record.may_have_been_cleared(&subject, (at(5), at(11)), at(10)));
        let (record, subject) = self::record(&[(10, "bob", "Revoke", None), (10, "alice", "Approve", None)]);
        assert!(!record.may_have_been_cleared(&subject, (at(5), at(11)), at(10)));
    }
}
