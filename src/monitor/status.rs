//! Computes and writes the status of a monitor.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Client, Resource,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use super::entry::{Entry, Place};
use crate::{
    api::{
        Condition, ConditionState, Monitor, MonitorMeasurement, MonitorProgress, MonitorStatus, OpenBreach,
        OpenedIncident, condition_of,
    },
    policy::{MONITORS_OF_NAMESPACE, Measurement},
    truncate::{plain, shorten},
};

const MANAGER: &str = "assent-monitor";

pub(super) struct StatusWrite {
    pub(super) resource_version: Option<String>,
    pub(super) conditions: Box<[ConditionState]>,
    pub(super) significant: u64,
    pub(super) status: MonitorStatus,
}

pub(super) enum Wrote {
    Stored {
        resource_version: Option<String>,
        conditions: Box<[ConditionState]>,
        significant: u64,
    },
    /// The stored monitor has another resource version.
    Conflict,
    /// The write failed, or the monitor was deleted.
    Failed,
}

/// A value as text. If the text is too long for the schema, as for 3.1e-70, writes the value with an exponent.
fn number(value: f64) -> String {
    let text = value.to_string();
    if text.len() <= 32 { text } else { format!("{value:e}") }
}

pub(super) fn of(entry: &Entry, place: &Place, has_source: bool, now: Timestamp) -> MonitorStatus {
    let queries = entry.queries.as_ref().and_then(|queries| queries.as_ref().ok());
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let measurement = |(at, value): &(Timestamp, Option<f64>)| MonitorMeasurement {
        at: in_seconds(*at),
        value: value.map(number),
    };
    MonitorStatus {
        observed_generation: entry.generation,
        conditions: conditions(entry, place, has_source, now),
        state: Some(entry.track.state()),
        query: queries.map(|queries| plain(&queries.value).into_owned()),
        value: entry.value.map(number),
        since: entry.since.map(|(_, since)| in_seconds(since)),
        last_success: entry.last_success.map(in_seconds),
        measured: entry.measured.clone(),
        measurements: entry.measurements.iter().rev().map(measurement).collect(),
        breach: entry.track.breach.as_ref().map(|breach| OpenBreach {
            since: Time(breach.since),
            cause: shorten(plain(&breach.cause).into_owned(), 1024),
            incident: entry.incident().map(|incident| incident.name.clone()),
        }),
        last_incident: entry.last_incident.clone(),
        progress: Some(MonitorProgress {
            beyond_seconds: seconds(entry.track.beyond),
            clear_seconds: seconds(entry.track.clear),
            no_data_seconds: seconds(entry.track.no_data),
        }),
    }
}

fn in_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The reason and message of the condition `Ready`, if the operator cannot query the monitor.
fn defect(entry: &Entry, (namespace, name): &Place, has_source: bool) -> Option<(&'static str, String)> {
    let source = &entry.spec.source;
    match &entry.queries {
        _ if entry.is_surplus => Some((
            "TooManyMonitors",
            format!(
                "the namespace has more than {MONITORS_OF_NAMESPACE} monitors, and this one is not among the first, with Hold before the others: delete others"
            ),
        )),
        Some(Err(why)) => {
            Some(("QueryInvalid", format!("{why}; kubectl edit monitor/{name} -n {namespace}")))
        }
        _ if !has_source => Some((
            "SourceNotFound",
            format!(
                "the operator has no Prometheus named {source}: correct spec.source, or add it to monitoring.prometheus of the chart"
            ),
        )),
        _ => None,
    }
}

fn conditions(entry: &Entry, place: &Place, has_source: bool, now: Timestamp) -> Vec<Condition> {
    let of = |type_, status, reason: &str, message: String| {
        let message = shorten(plain(&message).into_owned(), 4096);
        condition_of(&entry.conditions, (type_, status), reason, message, entry.generation, now)
    };
    let defect = defect(entry, place, has_source);
    let mut conditions = match &defect {
        // kstatus reports an object with the condition `Stalled` as failed. So the condition is absent if nothing is
        // wrong.
        Some((reason, why)) => {
            vec![of("Ready", "False", reason, why.clone()), of("Stalled", "True", reason, why.clone())]
        }
        None => vec![of("Ready", "True", "Measuring", format!("queried every {}", entry.spec.interval))],
    };
    let (status, reason, message) = within(entry, place, defect);
    conditions.push(of("WithinLimits", status, reason, message));
    conditions
}

/// The status, reason and message of the condition `WithinLimits`.
fn within(
    entry: &Entry,
    (namespace, _): &Place,
    defect: Option<(&'static str, String)>,
) -> (&'static str, &'static str, String) {
    let silence = match &entry.track.last {
        Some((_, Measurement::NoValue(why))) => Some(("NoValue", why.clone())),
        Some((_, Measurement::NoAnswer(why))) => Some(("NoAnswer", why.clone())),
        Some((_, Measurement::Value(_))) => None,
        None => Some(("NotMeasured", "no measurement yet".to_owned())),
    };
    let silence = defect.or(silence);
    if let Some(breach) = &entry.track.breach {
        let now = silence.map(|(_, why)| format!("; no value now: {why}")).unwrap_or_default();
        let incident = entry.incident().map(|OpenedIncident { name, holds }| {
            let lifts = if *holds { "; only people lift the hold" } else { "" };
            format!("{lifts}; see: kubectl assent incident show {name} -n {namespace}")
        });
        return ("False", "Breached", format!("{}{now}{}", breach.cause, incident.unwrap_or_default()));
    }
    if let Some((reason, why)) = silence {
        return ("Unknown", reason, why);
    }
    let value = entry.value.unwrap_or_default();
    if entry.track.beyond.is_zero() && !entry.is_beyond() {
        return ("True", "Within", format!("{value} is within the limit"));
    }
    let (seconds, needed) = (entry.track.beyond.as_secs(), entry.spec.breach.for_);
    (
        "True",
        "BeyondLimit",
        format!("{value} is beyond the limit for {seconds} s; after {needed} it is a breach"),
    )
}

/// Writes a status. The request states the resource version in `wanted`, so a changed monitor gives a conflict.
pub(super) async fn write(client: &Client, (namespace, name): &Place, wanted: &StatusWrite) -> Wrote {
    let object = json!({ "apiVersion": Monitor::api_version(&()), "kind": Monitor::kind(&()),
        "metadata": { "resourceVersion": wanted.resource_version }, "status": wanted.status });
    let request = Request::new(Monitor::url_path(&(), Some(namespace))).patch_subresource(
        "status",
        name,
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(&object),
    );
    let answer = match request {
        Ok(request) => client.request_text(request).await,
        Err(error) => Err(kube::Error::BuildRequest(error)),
    };
    match answer {
        Ok(stored) => Wrote::Stored {
            resource_version: version_of(&stored),
            conditions: wanted.conditions.clone(),
            significant: wanted.significant,
        },
        Err(kube::Error::Api(answer)) if answer.code == 409 => Wrote::Conflict,
        // The monitor was deleted in the meantime. The watch delivers the deletion.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Wrote::Failed,
        Err(error) => {
            warn!(namespace, name, "the status of the monitor was not written: {error}");
            Wrote::Failed
        }
    }
}

/// The resource version in the answer to a write, even if the rest of the object is unreadable.
fn version_of(stored: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Stored {
        metadata: StoredMeta,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct StoredMeta {
        resource_version: Option<String>,
    }
    serde_json::from_str::<Stored>(stored).ok()?.metadata.resource_version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_every_value_fits_its_field_and_reads_back() {
        for value in [0.25, 3.1e-70, 1e70, f64::MIN_POSITIVE, f64::MAX, -1.0 / 3.0, 1e20] {
            let text = number(value);
            assert!(text.len() <= 64 && text.parse() == Ok(value), "{value}: {text}");
        }
        assert_eq!(number(0.031), "0.031");
    }
}
