//! Explains why a pod runs or does not run, and names the people who can act. The command repeats the checks of the
//! admission policies in the order of the policies.
//!
//! ```text
//!  target, such as pod/x ─► pods or pod template ─► PodGroups ─┐
//!  Namespace, SystemRecords, Clearance ────────────────────────┴─► Explanation ─► text, json, yaml
//! ```

mod finding;
mod pod_group;
mod render;
mod root;
mod tags;

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    admission::HoldMethod,
    api::{CLEARANCE_NAME, Clearance, Governance, ModelVersion},
    cli::{
        connect::{
            rbac::Holders,
            session::Session,
            signs::accelerators,
            system_record::{SystemRecord, unless_installed},
            target::Target,
        },
        error::{Error, Next, Result},
        render::output::{self, Prose},
    },
    watch::request,
};
use finding::Explanation;
use pod_group::PodGroups;

pub use finding::{ExplainInput, PodFinding, Seen};
pub use pod_group::{PodGroup, read_pod, read_workload, statuses};
pub use root::pods_of;

pub async fn explain(session: &Session, target: &Target, format: Prose) -> Result<()> {
    let found = groups(session, target).await?;
    let mut records = BTreeMap::new();
    for system in found.systems() {
        let record = SystemRecord::read(&session.client, &session.namespace, &system).await?;
        records.insert(system, record);
    }
    let facts = ExplainInput {
        namespace: session.namespace.clone(),
        place: format!(" -n {}{}", session.namespace, session.flags),
        governance: governance(session).await?,
        clearance: clearance(session).await?,
        pins: pins(session).await,
        records,
        holders: Holders::read(&session.client).await,
        now: Timestamp::now(),
    };
    let explanation = Explanation::new(target, &found, &facts);
    anstream::print!(
        "{}",
        match format {
            Prose::Text => render::render(&explanation, facts.now),
            Prose::Json => output::json(&explanation)?,
            Prose::Yaml => output::yaml(&explanation)?,
        }
    );
    Ok(())
}

async fn groups(session: &Session, target: &Target) -> Result<PodGroups> {
    match target {
        Target::Pod(name) => pod_group::pod(session, name).await,
        Target::Workload(kind, name) => pod_group::workload(session, kind, name).await,
        Target::Root(kind, name) => {
            let pods = root::pods_of(session, kind, name).await?;
            Ok(PodGroups::of_pods(pods, &accelerators(session).await))
        }
        Target::System(name) => pod_group::system(session, name).await,
        Target::Image(name) => pod_group::image(session, name).await,
        Target::Version(name) => pod_group::system(session, &system_of(session, name).await?).await,
    }
}

async fn system_of(session: &Session, version: &str) -> Result<String> {
    let api = Api::<ModelVersion>::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("read modelversion/{version} in namespace {}", session.namespace);
    if let Some(found) = request::get_opt(&api, version).await.map_err(Error::api(doing))? {
        return Ok(found.spec.system);
    }
    let list = request::list_metadata(&api, &ListParams::default()).await;
    let list =
        list.map_err(unless_installed(format!("read the modelversions of namespace {}", session.namespace)))?;
    Err(Error::NotFound {
        what: format!("ModelVersion {version}"),
        namespace: session.namespace.clone(),
        others: list.iter().map(ResourceExt::name_any).collect(),
        next: vec![Next::new(
            "kubectl get modelversions --all-namespaces",
            "list the versions of every namespace",
        )],
    })
}

async fn governance(session: &Session) -> Result<Seen<Governance>> {
    let api = Api::<Namespace>::all(session.client.clone());
    let read = request::get_opt(&api, &session.namespace).await;
    let seen = seen(read, || format!("read namespace {}", session.namespace))?;
    Ok(seen.map(|namespace| Governance::of(namespace.labels())))
}

async fn clearance(session: &Session) -> Result<Seen<Clearance>> {
    let api = Api::<Clearance>::namespaced(session.client.clone(), &session.namespace);
    let read = request::get_opt(&api, CLEARANCE_NAME).await;
    seen(read, || format!("read the clearance of namespace {}", session.namespace))
}

/// Whether the API server adds approved digests to the images of new pods.
pub async fn pins(session: &Session) -> bool {
    HoldMethod::of(&session.client).await.map_or(true, |method| method == HoldMethod::Gate)
}

/// Converts the result of a read to [`Seen`]. Converts a forbidden read to [`Seen::Hidden`], and fails on other errors.
fn seen<T>(read: kube::Result<Option<T>>, doing: impl FnOnce() -> String) -> Result<Seen<T>> {
    match read {
        Ok(Some(object)) => Ok(Seen::Found(object)),
        Ok(None) => Ok(Seen::Absent),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Seen::Hidden),
        Err(error) => Err(Error::api(doing())(error)),
    }
}
