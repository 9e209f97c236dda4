//! Measures how fast an incident stops a system: first until the Clearance withholds the system, then until the
//! operator stops the first pod.
//!
//! ```text
//! incident is created ──► Clearance clears no version of the system ──► first pod is stopped
//! ```

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use assent::api::Clearance;
use assent_tests::{Assent, ControlPlane, Person};
use futures::StreamExt as _;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::json;
use tokio::sync::oneshot;

use crate::leave::leaving;
use crate::report::{Goal, Row, Unit};
use crate::rest::Rest;
use crate::revoke::{clear, populate};
use crate::stats::ms;
use crate::world;
use crate::{Scale, progress};

const HELD: &str = "hold";

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    world::namespace(&admin, HELD, true).await?;
    let (mut decided, mut stopped) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        progress(&format!("hold of {} pods, round {} of {}", scale.stopped, round + 1, scale.rounds));
        let system = world::system_name(round);
        clear(&admin, &alice, HELD, round).await?;
        populate(&admin, assent, HELD, round, scale.stopped).await?;
        let gone = leaving(&admin, HELD, "app", scale.stopped).await?;
        let withheld = withheld(&admin, system.clone()).await?;
        let incident = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Incident",
            "metadata": { "name": format!("drift-{round}") },
            "spec": { "system": system, "effect": "Hold", "description": "drift" } });
        admin.create(&world::ours(HELD, "incidents"), &incident).await?;
        let begin = Instant::now();
        let (withheld, left) = tokio::try_join!(withheld, gone)?;
        decided.push(ms(withheld.saturating_duration_since(begin)));
        stopped.push(ms(left.first.saturating_duration_since(withheld)));
    }
    let row = |measure: String, assent: Vec<f64>, goal| Row {
        measure,
        unit: Unit::Milliseconds,
        floor: Vec::new(),
        assent,
        goal: Some(Goal::Within(goal)),
    };
    let pods = scale.stopped;
    Ok(vec![
        row(format!("incident to the Clearance that withholds a system of {pods} pods"), decided, 100.0),
        row(format!("this Clearance to the first of {pods} pods deleted"), stopped, 50.0),
    ])
}

/// Starts a watch. The returned future ends when the Clearance clears no version of `system`, and gives this instant.
async fn withheld(rest: &Rest, system: String) -> Result<impl Future<Output = Result<Instant>> + use<>> {
    let api: Api<Clearance> = Api::namespaced(rest.0.clone(), HELD);
    let mut events = watcher(api, Config::default()).default_backoff().boxed();
    let (listed, first_list) = oneshot::channel();
    let watch = tokio::spawn(async move {
        let mut listed = Some(listed);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::InitDone) => drop(listed.take().map(|listed| listed.send(()))),
                Ok(Event::Apply(Clearance { spec, .. }))
                    if spec.systems.get(&system).is_none_or(|system| system.cleared.is_empty()) =>
                {
                    return Ok(Instant::now());
                }
                // After an error, the watcher retries by itself.
                Ok(_) | Err(_) => {}
            }
        }
        bail!("the watch ended")
    });
    first_list.await.context("the watch listed nothing")?;
    Ok(async move { watch.await? })
}
