//! Lists the AI workloads of a namespace or of the cluster, and marks those without an `AISystem` as shadow AI.
//!
//! A workload belongs to a system if the label `assent.dev/system` of its pods names an existing `AISystem`. Another
//! workload is shadow AI if it uses an accelerator, or if one of its images matches a pattern. The patterns come from
//! `--image-pattern`, or else from the `ConfigMap` of the chart.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};
use serde::Serialize;

use crate::{
    api::{AISystem, SYSTEM_LABEL},
    cli::{
        connect::system_record::unless_installed,
        connect::{
            pods::{Workload, each_page},
            session::Session,
            signs::Listed,
            templates::each_template,
        },
        error::{Error, Result},
        render::{
            escape::visible,
            output::{self, Listing},
            page::{BAD, FAINT, PLAIN},
            table::{Cell, table},
        },
    },
    enforce::{OwnerRef, Roots, has_ended},
    images::{ImagePatterns, Signs},
};

/// A workload and the number of its pods. If the pods of a workload differ in a field of the row, such as `images`, the
/// workload has several rows. `pods` is 0 for a workload without pods.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    workload: Workload,
    pods: u32,
    /// The `AISystem` that the pods name. `None` for shadow AI.
    system: Option<String>,
    accelerators: BTreeSet<String>,
    images: BTreeSet<String>,
    /// The reasons why the pods count as AI: accelerators and matching images. Empty if the workload has a system.
    found_by: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Images {
    /// The values of `--image-pattern`.
    pub patterns: Vec<String>,
    /// The namespace of the chart's `ConfigMap`. The patterns in this `ConfigMap` apply if `--image-pattern` is not
    /// set.
    pub namespace: String,
}

pub async fn inventory(
    session: &Session,
    everywhere: bool,
    shadow_only: bool,
    images: &Images,
    format: Listing,
) -> Result<()> {
    let (systems, signs) = (systems(session, everywhere).await?, signs(session, images).await?);
    let mut pods = Vec::new();
    each_page(session, everywhere, |page| {
        let found = page.iter().filter_map(|pod| AiPod::of(pod, &systems, &signs));
        pods.extend(found.filter(|found| !(shadow_only && found.system.is_some())));
    })
    .await?;
    let mut rows = rows(session, pods).await;
    let is_ai =
        |pod: &Pod| AiPod::of(pod, &systems, &signs).filter(|found| !(shadow_only && found.system.is_some()));
    let idle = idle(session, everywhere, &rows, is_ai).await?;
    rows.extend(idle);
    let text = match format {
        Listing::Json => output::json(&rows)?,
        Listing::Yaml => output::yaml(&rows)?,
        Listing::Table | Listing::Wide if rows.is_empty() => {
            session.say_none_found("AI workloads", everywhere);
            return Ok(());
        }
        Listing::Table | Listing::Wide => rows_table(&rows, everywhere, format == Listing::Wide),
    };
    anstream::print!("{text}");
    Ok(())
}

/// The namespace and the name of each system.
async fn systems(session: &Session, everywhere: bool) -> Result<BTreeSet<(String, String)>> {
    let (api, _) = session.reach::<AISystem>(everywhere);
    let list = api.list_metadata(&ListParams::default()).await;
    let list = list.map_err(unless_installed("read the aisystems".to_owned()))?;
    Ok(list.items.iter().map(|s| (s.namespace().unwrap_or_default(), s.name_any())).collect())
}

async fn signs(session: &Session, images: &Images) -> Result<Signs> {
    let listed = match Listed::read(session, &images.namespace).await {
        Ok(listed) => listed,
        Err(why) => {
            let patterns = if images.patterns.is_empty() { "" } else { "these image patterns and " };
            anstream::eprintln!(
                "{}: searching only for {patterns}the built-in accelerators; set --assent-namespace to the namespace of Assent",
                visible(&why.to_string())
            );
            Listed::default()
        }
    };
    let typed = (!images.patterns.is_empty()).then(|| images.patterns.join("\n"));
    let images = parsed(typed.unwrap_or(listed.image_patterns))?;
    Ok(Signs { images, accelerators: listed.accelerators })
}

fn parsed(lines: String) -> Result<ImagePatterns> {
    lines.parse().map_err(|error: globset::Error| Error::Flag {
        flag: "--image-pattern",
        value: lines,
        why: error.to_string(),
    })
}

struct AiPod {
    namespace: String,
    pod: String,
    owner: Option<OwnerRef>,
    system: Option<String>,
    accelerators: BTreeSet<String>,
    images: BTreeSet<String>,
    found_by: Vec<String>,
}

impl AiPod {
    fn of(pod: &Pod, systems: &BTreeSet<(String, String)>, signs: &Signs) -> Option<Self> {
        let (spec, namespace) = (pod.spec.as_ref()?, pod.namespace().unwrap_or_default());
        let named = pod.labels().get(SYSTEM_LABEL).map(|name| (namespace.clone(), name.clone()));
        let system = named.filter(|named| systems.contains(named)).map(|(_, name)| name);
        let accelerators = signs.accelerators.of(pod.metadata.annotations.as_ref(), spec);
        let accelerators: BTreeSet<String> = accelerators.map(str::to_owned).collect();
        let matched = signs.images.matched(spec).map(|image| format!("image {image}"));
        let mut found_by: Vec<_> = accelerators.iter().cloned().chain(matched).collect();
        if has_ended(pod) || (system.is_none() && found_by.is_empty()) {
            return None;
        }
        if system.is_some() {
            found_by.clear();
        }
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        Some(Self {
            namespace,
            pod: pod.name_any(),
            owner: OwnerRef::of(pod),
            system,
            accelerators,
            images: containers.filter_map(|c| c.image.clone()).collect(),
            found_by,
        })
    }
}

async fn rows(session: &Session, pods: Vec<AiPod>) -> Vec<Row> {
    let mut roots = Roots::default();
    let mut rows: BTreeMap<_, u32> = BTreeMap::new();
    for pod in pods {
        let AiPod { namespace, pod, owner, system, accelerators, images, found_by } = pod;
        let workload = Workload::of(&mut roots, &session.client, &namespace, &pod, owner.as_ref()).await;
        // A `system` of `None` sorts first, so the shadow AI of a namespace comes before the workloads of systems.
        *rows.entry((namespace, system, workload, accelerators, images, found_by)).or_default() += 1;
    }
    let row = |((namespace, system, workload, accelerators, images, found_by), pods)| Row {
        namespace,
        workload,
        pods,
        system,
        accelerators,
        images,
        found_by,
    };
    rows.into_iter().map(row).collect()
}

/// Returns the AI workloads that are not in `rows`, because they have no pods.
async fn idle(
    session: &Session,
    everywhere: bool,
    rows: &[Row],
    is_ai: impl Fn(&Pod) -> Option<AiPod>,
) -> Result<Vec<Row>> {
    let known = rows.iter().map(|row| (row.namespace.clone(), row.workload.clone())).collect();
    let mut idle = Vec::new();
    each_template(session, everywhere, &known, |template| {
        let Some(AiPod { namespace, system, accelerators, images, found_by, .. }) = is_ai(&template.pod)
        else {
            return;
        };
        let workload = template.workload;
        idle.push(Row { namespace, workload, pods: 0, system, accelerators, images, found_by });
    })
    .await?;
    Ok(idle)
}

fn rows_table(rows: &[Row], everywhere: bool, wide: bool) -> String {
    let mut header = vec![("WORKLOAD", 0), ("PODS", u8::from(!wide)), ("SYSTEM", 0), ("FOUND BY", 0)];
    if everywhere {
        header.insert(0, ("NAMESPACE", 0));
    }
    if wide {
        header.extend([("ACCELERATORS", 0), ("IMAGES", 0)]);
    }
    let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
    let cells = |row: &Row| {
        let mut cells = Vec::new();
        if everywhere {
            cells.push(Cell::new(PLAIN, &row.namespace));
        }
        cells.push(Cell::new(PLAIN, &row.workload.in_words()));
        cells.push(Cell::new(PLAIN, &row.pods.to_string()));
        cells.push(match &row.system {
            Some(system) => Cell::new(PLAIN, system),
            None => Cell::new(BAD, "none"),
        });
        cells.push(Cell::new(PLAIN, &row.found_by.join(", ")));
        if wide {
            cells.push(Cell::new(FAINT, &joined(&row.accelerators)));
            cells.push(Cell::new(FAINT, &joined(&row.images)));
        }
        cells
    };
    table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}
