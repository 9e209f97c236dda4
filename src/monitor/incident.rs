//! Opens one incident for each breach, also after a retry or a restart.
//!
//! 1. If an earlier incident of the monitor is still open and has the required effect, it counts for the new breach
//!    too. This rule does not apply if people resumed a version that the earlier incident held.
//! 2. Otherwise, the operator creates an incident. The name depends only on the UID of the monitor and the time of the
//!    breach. So a retry or a second operator computes the same name.
//! 3. If an incident with this name exists, and the operator opened it for this monitor, it is the incident of this
//!    breach.
//! 4. If another user created the existing incident, or it lacks the required hold, the operator tries the next name.
//!
//! The operator recognises its own incidents by `spec.monitor`, because only the operator may set this field. If
//! incidents with all names exist, the API server generates a name that nobody can predict.

use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::entry::{Place, Unopened};
use crate::{
    api::{
        Approval, Approver, Decision, Digest, Incident, IncidentEffect, IncidentSpec, MonitorSpec,
        OpenedIncident,
    },
    truncate::{plain, shorten},
    watch::request,
};

/// The number of names that the operator tries before the API server generates a name.
const NAMES: u32 = 16;

pub(super) struct Opener {
    client: Client,
    /// The user as whom the API server authenticates the operator. Each incident names this user as its opener.
    operator: OnceCell<Approver>,
}

impl Opener {
    pub(super) fn new(client: Client) -> Self {
        Self { client, operator: OnceCell::new() }
    }

    /// Returns the incident of a breach. Opens this incident, unless an earlier incident of the monitor still counts.
    pub(super) async fn open(&self, place: &Place, breach: &Unopened) -> kube::Result<OpenedIncident> {
        let (namespace, monitor) = place;
        let api = Api::<Incident>::namespaced(self.client.clone(), namespace);
        let opened = |name| OpenedIncident { name, holds: breach.holds() };
        if let Some(earlier) = &breach.earlier
            && (earlier.holds || !breach.holds())
            && self.is_open(&api, namespace, earlier).await?
        {
            return Ok(earlier.clone());
        }
        let operator = self.operator.get_or_try_init(|| request::myself(&self.client)).await?;
        let spec = incident(monitor, breach, operator.clone());
        for attempt in 0..NAMES {
            let name = name(monitor, breach, attempt);
            match request::put(&api, &PostParams::default(), &Incident::new(&name, spec.clone())).await {
                Ok(()) => return Ok(opened(name)),
                Err(kube::Error::Api(answer)) if answer.code == 409 => {
                    let existing = request::get_opt(&api, &name).await?;
                    if existing.is_some_and(|incident| is_of(&incident.spec, monitor, breach)) {
                        return Ok(opened(name));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let mut generated = Incident::new("", spec);
        generated.metadata.name = None;
        generated.metadata.generate_name = Some(format!("{}-", start(monitor)));
        api.create(&PostParams::default(), &generated).await.map(|incident| opened(incident.name_any()))
    }

    /// Whether `earlier` is open, and nobody decided to resume a version that `earlier` holds. A decision to resume
    /// counts here even if it has no effect. The worst consequence is one more incident.
    async fn is_open(
        &self,
        api: &Api<Incident>,
        namespace: &str,
        earlier: &OpenedIncident,
    ) -> kube::Result<bool> {
        let Some(incident) = request::get_opt(api, &earlier.name).await? else { return Ok(false) };
        if incident.condition("Closed").is_some_and(|closed| closed.status == *"True") {
            return Ok(false);
        }
        if !earlier.holds {
            return Ok(true);
        }
        let approvals = Api::<Approval>::namespaced(self.client.clone(), namespace);
        let approvals = request::list(&approvals, &ListParams::default()).await?;
        let resumes = |approval: &Approval| {
            approval.spec.decision == Decision::Resume
                && approval.spec.incident.as_ref().is_some_and(|of| *of.name == *earlier.name)
        };
        Ok(!approvals.items.iter().any(resumes))
    }
}

/// Whether the operator opened `incident` for this monitor, with the effect that the breach requires.
fn is_of(incident: &IncidentSpec, monitor: &str, breach: &Unopened) -> bool {
    incident.monitor.as_deref() == Some(monitor)
        && (incident.effect == IncidentEffect::Hold || !breach.holds())
}

/// The name of the incident. It depends only on the monitor, the breach and the attempt, so a retry gets the same name.
fn name(monitor: &str, breach: &Unopened, attempt: u32) -> String {
    let text = format!("{} {} {attempt}", breach.uid, breach.since.as_second());
    let digest = Digest::from_sha256(Sha256::digest(text).into());
    format!("{}-{}", start(monitor), digest.eight())
}

/// The first part of the names of a monitor's incidents. It is short enough for a suffix, and does not end with `.` or
/// `-`.
fn start(monitor: &str) -> &str {
    monitor.get(..monitor.len().min(200)).unwrap_or_default().trim_end_matches(['.', '-'])
}

fn incident(monitor: &str, breach: &Unopened, operator: Approver) -> IncidentSpec {
    let MonitorSpec { system, metric, severity, .. } = &*breach.spec;
    let severity = severity.map(|severity| format!(" (severity {severity})")).unwrap_or_default();
    let description = format!("monitor/{monitor}{severity}: {metric}: {} at {}", breach.cause, breach.since);
    IncidentSpec {
        system: system.clone(),
        model_versions: Vec::new(),
        effect: if breach.holds() { IncidentEffect::Hold } else { IncidentEffect::None },
        except: None,
        description: shorten(plain(&description).into_owned(), 4096),
        criteria: Vec::new(),
        affected: None,
        // The field stays empty, and the description states the time. The API server refuses a time that is later than
        // its own time, and the clock of the operator can be ahead.
        occurred_at: None,
        aware_at: None,
        monitor: Some(monitor.into()),
        opened_by: Some(operator),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::api::OnBreach;

    fn breach(second: i64) -> Unopened {
        let spec = serde_json::json!({ "system": "scorer", "metric": "spd", "query": "x",
            "breach": { "above": "1" }, "noData": { "after": "1h", "then": "Unknown" } });
        Unopened {
            uid: "u".to_owned(),
            since: Timestamp::from_second(second).expect("a time"),
            cause: "2 is above 1".to_owned(),
            spec: Arc::new(serde_json::from_value(spec).expect("a spec")),
            earlier: None,
        }
    }

    #[test]
    fn incident_without_a_hold_does_not_count_for_a_breach_that_holds() {
        let mut breach = breach(1);
        let plain = incident("drift", &breach, Approver::default());
        assert!(is_of(&plain, "drift", &breach) && !is_of(&plain, "other", &breach));
        Arc::make_mut(&mut breach.spec).on_breach = OnBreach::Hold;
        assert!(!is_of(&plain, "drift", &breach), "an incident without a hold counts for a hold");
        assert!(is_of(&incident("drift", &breach, Approver::default()), "drift", &breach));
    }

    #[test]
    fn each_breach_has_one_name() {
        assert_eq!(name("drift", &breach(1), 0), name("drift", &breach(1), 0));
        assert_ne!(name("drift", &breach(1), 0), name("drift", &breach(2), 0));
        assert_ne!(name("drift", &breach(1), 0), name("drift", &breach(1), 1));
        let long = name(&"a".repeat(253), &breach(1), 0);
        assert!(long.len() <= 253, "{long}");
    }
}
