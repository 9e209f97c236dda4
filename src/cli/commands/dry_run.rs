//! Lists the workloads that would stop or be held if their namespaces enforced.
//!
//! The command decides with the code of the operator and changes nothing.
//!
//! ```text
//!  pods, pod templates, Clearances ─► enforce::would_stop ─► rows ─► table, wide, json, yaml
//! ```

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use serde::Serialize;

use crate::{
    api::{CLEARANCE_NAME, Clearance, ClearanceSpec, Scope},
    cli::{
        connect::system_record::unless_installed,
        connect::{
            pods::{Workload, each_page},
            session::Session,
            signs,
            templates::{Template, each_template},
        },
        error::Result,
        render::{
            escape::visible,
            output::{self, Listing},
            page::{LOOK, PLAIN},
            table::{Cell, table},
        },
    },
    enforce::{Roots, WouldStop, would_be_held, would_stop},
    watch::request,
};

/// Pods of one workload that would stop for the same reason. `pods` is empty if no pod of the workload would stop, but
/// new pods of the workload would be held.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    workload: Workload,
    pods: Vec<String>,
    system: Option<String>,
    why: String,
}

/// Prints the workloads that would stop or be held if their namespaces enforced. `scope` replaces the scope of each
/// namespace.
pub async fn as_if_enforced(
    session: &Session,
    everywhere: bool,
    scope: Option<Scope>,
    format: Listing,
) -> Result<()> {
    let clearances = clearances(session, everywhere).await?;
    let (accelerators, now) = (signs::accelerators(session).await, Timestamp::now());
    let mut stopped = Vec::new();
    each_page(session, everywhere, |pods| {
        let mut namespaces: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for pod in pods {
            namespaces.entry(pod.namespace().unwrap_or_default()).or_default().push(pod);
        }
        for (namespace, pods) in namespaces {
            let mut clearance = clearances.get(&namespace).cloned().unwrap_or_default();
            clearance.scope = scope.unwrap_or(clearance.scope);
            let those = would_stop(&pods, &clearance, &accelerators, now);
            stopped.extend(those.into_iter().map(|s| (namespace.clone(), s)));
        }
    })
    .await?;
    let mut rows = rows(session, stopped).await;
    let known = rows.iter().map(|row| (row.namespace.clone(), row.workload.clone())).collect();
    each_template(session, everywhere, &known, |Template { namespace, workload, pod }| {
        let mut clearance = clearances.get(&namespace).cloned().unwrap_or_default();
        clearance.scope = scope.unwrap_or(clearance.scope);
        if let Some(WouldStop { system, why, .. }) = would_be_held(&pod, &clearance, &accelerators, now) {
            let system = (!system.is_empty()).then(|| system.to_string());
            let (namespace, workload) = (namespace.clone(), workload.clone());
            rows.push(Row { namespace, workload, pods: Vec::new(), system, why });
        }
    })
    .await?;
    let text = match format {
        Listing::Json => output::json(&rows)?,
        Listing::Yaml => output::yaml(&rows)?,
        Listing::Table | Listing::Wide if rows.is_empty() => {
            let place = if everywhere { "any namespace" } else { &session.namespace };
            anstream::eprintln!("Nothing would stop or be held if {} enforced.", visible(place));
            return Ok(());
        }
        Listing::Table | Listing::Wide => rows_table(&rows, everywhere, format == Listing::Wide),
    };
    anstream::print!("{text}");
    Ok(())
}

async fn clearances(session: &Session, everywhere: bool) -> Result<BTreeMap<String, ClearanceSpec>> {
    let (api, _) = session.reach::<Clearance>(everywhere);
    let list = request::list(&api, &ListParams::default())
        .await
        .map_err(unless_installed("read the clearances".into()))?;
    let named = list.items.into_iter().filter(|c| c.name_any() == CLEARANCE_NAME);
    Ok(named.map(|c| (c.namespace().unwrap_or_default(), c.spec)).collect())
}

async fn rows(session: &Session, stopped: Vec<(String, WouldStop)>) -> Vec<Row> {
    let mut roots = Roots::default();
    let mut rows: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (namespace, pod) in stopped {
        let workload =
            Workload::of(&mut roots, &session.client, &namespace, &pod.pod, pod.owner.as_deref()).await;
        rows.entry((namespace, workload, pod.system, pod.why)).or_default().push(pod.pod);
    }
    let row = |((namespace, workload, system, why), pods): ((_, _, std::sync::Arc<str>, _), _)| Row {
        namespace,
        workload,
        pods,
        system: (!system.is_empty()).then(|| system.to_string()),
        why,
    };
    rows.into_iter().map(row).collect()
}

fn rows_table(rows: &[Row], everywhere: bool, wide: bool) -> String {
    let mut header =
        vec![("WORKLOAD", 0), ("PODS", u8::from(!wide)), ("SYSTEM", 0), ("WOULD STOP BECAUSE", 0)];
    if everywhere {
        header.insert(0, ("NAMESPACE", 0));
    }
    if wide {
        header.push(("NAMES", 0));
    }
    let cells = |row: &Row| {
        let mut cells = Vec::new();
        if everywhere {
            cells.push(Cell::new(PLAIN, &row.namespace));
        }
        cells.push(Cell::new(PLAIN, &row.workload.in_words()));
        cells.push(Cell::new(PLAIN, &row.pods.len().to_string()));
        cells.push(Cell::new(PLAIN, row.system.as_deref().unwrap_or_default()));
        cells.push(Cell::new(LOOK, &row.why));
        if wide {
            cells.push(Cell::new(PLAIN, &row.pods.join(",")));
        }
        cells
    };
    table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}
