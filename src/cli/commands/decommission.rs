//! Decommissions a system. Shows the pods of the system and the systems that depend on it, asks for confirmation, and
//! writes the date, the reason and the successor to `spec.decommission`.
//!
//! ```text
//!  AISystem, its pods, systems that depend on it ─► review ─► ask ─► patch spec.decommission ─► report
//! ```
//!
//! Without `--force`, the command fails if another system depends on this system. From the date on, the API server
//! refuses to undo the decommission.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::json;

use crate::{
    api::{AISystem, Decommission, SYSTEM_LABEL},
    cli::{
        commands::{ask, outcome::STATUS_TIMEOUT, sign::MANAGER},
        connect::{
            pods::{Workload, each_page},
            session::Session,
            system_record::read_system,
        },
        error::{Error, Next, Result},
        render::{
            output,
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            shell::CommandLine,
            time::{TOO_LATE, Until, in_words},
        },
    },
    enforce::{OwnerRef, Roots, has_ended},
    watch::request,
};

#[derive(Clone, Debug)]
pub struct DecommissionRequest {
    pub system: String,
    /// The instant from which no pod of the system may run, as typed and as parsed. `None` means now.
    pub date: Option<(String, Until)>,
    pub reason: Option<String>,
    pub successor: Option<String>,
    /// Whether to decommission the system even if another system depends on it.
    pub force: bool,
    pub yes: bool,
}

pub async fn decommission(session: &Session, request: DecommissionRequest) -> Result<()> {
    let now = Timestamp::now();
    let system = read_system(session, &request.system).await?;
    refuse_if_over(session, &system)?;
    let end = request.end(session, now).await?;
    let typed = request.typed(&session.place()).with("--reason", [&end.reason]);
    let needed_by = Dependents::read(session, &system, end.date.0).await?;
    if !request.force && !needed_by.systems.is_empty() {
        return Err(needed_by.refusal(typed.with_switch("--force", true).to_string()));
    }
    let stops = running(session, &request.system).await?;
    anstream::print!("{}", review(&system, &end, &needed_by, &stops, now));
    if !request.yes {
        if !ask::is_interactive() {
            return Err(Error::NotATerminal { command: typed.confirmed() });
        }
        ask::for_name(&request.system, "decommission it")?;
    }
    write(session, &system, &end, typed.to_string()).await?;
    report(session, &request.system, &end, now).await;
    Ok(())
}

impl DecommissionRequest {
    async fn end(&self, session: &Session, now: Timestamp) -> Result<Decommission> {
        let date = match &self.date {
            None => Timestamp::from_second(now.as_second()).unwrap_or(now),
            Some((text, date)) => date.instant(now).ok_or_else(|| Error::Flag {
                flag: "--date",
                value: text.clone(),
                why: format!("{TOO_LATE}, such as 90d"),
            })?,
        };
        if let Some(successor) = &self.successor {
            read_system(session, successor).await?;
        }
        let missing = || {
            let command = self.typed(&session.place()).with("--reason", ["TEXT"]).to_string();
            Error::NoReason { act: "decommission", command }
        };
        let reason = ask::reason(self.reason.as_deref(), "decommission", &self.system, missing)?;
        Ok(Decommission { date: Time(date), reason, successor: self.successor.clone() })
    }

    fn typed(&self, place: &str) -> CommandLine {
        CommandLine::new("decommission", &[&self.system], place)
            .with("--date", self.date.iter().map(|(text, _)| text))
            .with("--reason", &self.reason)
            .with("--successor", &self.successor)
            .with_switch("--force", self.force)
    }
}

fn refuse_if_over(session: &Session, system: &AISystem) -> Result<()> {
    let over = system.status.as_ref().and_then(|status| status.decommissioned).unwrap_or_default();
    let Some(end) = system.spec.decommission.as_ref().filter(|_| over) else { return Ok(()) };
    let name = system.name_any();
    Err(Error::Choose {
        question: format!("{name} is decommissioned since {}, and this is final: {}", end.date.0, end.reason),
        next: vec![Next::new(
            format!("kubectl assent history {name} -n {}{}", session.namespace, session.flags),
            "see its history",
        )],
    })
}

struct Dependents {
    of: String,
    /// The systems that depend on the system `of`, as `NAMESPACE/NAME`.
    systems: Vec<String>,
    /// Whether the command searched every namespace for `systems`. `false` if the person may not list the systems of
    /// other namespaces.
    all: bool,
}

impl Dependents {
    /// Reads the systems that depend on `system` and are not decommissioned at `date`.
    async fn read(session: &Session, system: &AISystem, date: Timestamp) -> Result<Self> {
        let (everywhere, here) = (session.reach::<AISystem>(true), session.reach::<AISystem>(false));
        let params = ListParams::default();
        let (list, all) = match request::list(&everywhere.0, &params).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                (request::list(&here.0, &params).await, false)
            }
            list => (list, true),
        };
        let list = list.map_err(Error::api("read the aisystems that may need this one"))?;
        let (namespace, name) = (&session.namespace, system.name_any());
        let needs = |other: &&AISystem| {
            let theirs = other.namespace().unwrap_or_default();
            let outlives = other.spec.decommission.as_ref().is_none_or(|end| end.date.0 > date);
            outlives
                && other.spec.depends_on.iter().any(|needed| {
                    needed.name == name && needed.namespace.as_ref().unwrap_or(&theirs) == namespace
                })
        };
        let named =
            |other: &AISystem| format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any());
        Ok(Self { systems: list.items.iter().filter(needs).map(named).collect(), of: name, all })
    }

    fn refusal(&self, command: String) -> Error {
        Error::Needed { system: self.of.clone(), by: self.systems.clone(), command }
    }
}

pub fn pods_in_words(pods: usize) -> String {
    if pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") }
}

/// Returns the number of pods of each workload of `system` in the namespace. Pods that have ended do not count.
pub async fn running(session: &Session, system: &str) -> Result<BTreeMap<Workload, usize>> {
    let mut pods: Vec<(String, Option<OwnerRef>)> = Vec::new();
    let is_of_it = |pod: &Pod| pod.labels().get(SYSTEM_LABEL).is_some_and(|name| name == system);
    each_page(session, false, |page| {
        let found = page.iter().filter(|pod| is_of_it(pod) && !has_ended(pod));
        pods.extend(found.map(|pod| (pod.name_any(), OwnerRef::of(pod))));
    })
    .await?;
    let (mut roots, mut workloads) = (Roots::default(), BTreeMap::new());
    for (pod, owner) in pods {
        let workload =
            Workload::of(&mut roots, &session.client, &session.namespace, &pod, owner.as_ref()).await;
        *workloads.entry(workload).or_default() += 1;
    }
    Ok(workloads)
}

/// The text that the person reads before the confirmation.
fn review(
    system: &AISystem,
    end: &Decommission,
    needed_by: &Dependents,
    stops: &BTreeMap<Workload, usize>,
    now: Timestamp,
) -> String {
    let mut page = Page::default();
    let name = system.name_any();
    let namespace = system.namespace().unwrap_or_default();
    page.say(STRONG, &format!("You are about to decommission {name} in namespace {namespace}"));
    page.heading("SYSTEM");
    page.prose("purpose", &system.spec.intended_purpose);
    page.list("owners", system.spec.owners.iter().map(ToString::to_string));
    page.heading("END");
    page.styled_field("date", LOOK, &in_words(end.date.0, now));
    page.prose("reason", &end.reason);
    page.field("successor", end.successor.as_deref().unwrap_or("none"));
    if let Some(before) = &system.spec.decommission {
        page.mark(
            "!",
            LOOK,
            &format!("this replaces the earlier date {}: {}", in_words(before.date.0, now), before.reason),
        );
    }
    page.heading("WHAT STOPS");
    if stops.is_empty() {
        page.mark("-", FAINT, "it has no running pods");
    }
    for (workload, pods) in stops {
        page.mark("✗", BAD, &format!("{}: {}", workload.in_words(), pods_in_words(*pods)));
    }
    page.heading("WHO NEEDS IT");
    for other in &needed_by.systems {
        page.mark("✗", BAD, &format!("{other} depends on it"));
    }
    if needed_by.systems.is_empty() {
        page.mark("-", FAINT, "no AISystem depends on it");
    }
    if !needed_by.all {
        page.mark("!", LOOK, "you may not list the AI systems of other namespaces: they were not checked");
    }
    page.heading("FINAL");
    page.mark(
        "!",
        LOOK,
        "from the date on, no pod of the system runs, even with approvals, and you cannot undo it",
    );
    if let Some(tool) = gitops_tool(system) {
        let text = format!(
            "{tool} applies this system from Git: add this to its manifest in Git too, for its readers and for other clusters"
        );
        page.mark("!", LOOK, &text);
        let yaml = output::yaml(&json!({ "spec": { "decommission": end } })).unwrap_or_default();
        yaml.lines().for_each(|line| page.command(line));
    }
    page.finish()
}

/// The GitOps tool that applies the system, according to the labels and annotations of the system. `None` if they name
/// neither Flux nor Argo CD.
fn gitops_tool(system: &AISystem) -> Option<String> {
    const FLUX: [&str; 2] = ["kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"];
    let flux = FLUX.iter().find_map(|label| system.labels().get(*label));
    let argo = system.annotations().get("argocd.argoproj.io/tracking-id");
    flux.map(|name| format!("Flux ({name})"))
        .or_else(|| argo.map(|id| format!("Argo CD ({})", id.split(':').next().unwrap_or_default())))
}

/// Writes the decommission to the system. Fails if the spec of the system changed after the review. Retries if only the
/// status or the metadata changed. `review` is the command that shows the review again.
async fn write(session: &Session, system: &AISystem, end: &Decommission, review: String) -> Result<()> {
    let api = Api::<AISystem>::namespaced(session.client.clone(), &session.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let name = system.name_any();
    let mut resource_version = system.resource_version();
    loop {
        let patch = json!({
            "metadata": { "resourceVersion": resource_version },
            "spec": { "decommission": { "date": end.date, "reason": end.reason, "successor": end.successor } },
        });
        match api.patch(&name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                let now = read_system(session, &name).await?;
                if (now.uid(), now.metadata.generation) != (system.uid(), system.metadata.generation) {
                    return Err(Error::ChangedMeanwhile { what: format!("aisystem/{name} changed"), review });
                }
                resource_version = now.resource_version();
            }
            Err(error) => {
                let doing = format!("decommission aisystem/{name} in namespace {}", session.namespace);
                return Err(Error::api(doing)(error));
            }
        }
    }
}

/// Prints the effect of the decommission. If the date is not in the future, first waits until the status says that the
/// system is decommissioned, but at most [`STATUS_TIMEOUT`].
async fn report(session: &Session, name: &str, end: &Decommission, now: Timestamp) {
    let mut page = Page::default();
    if end.date.0 > now {
        let text = format!(
            "{name} will be decommissioned {}; until then you can undo it:",
            in_words(end.date.0, now)
        );
        page.mark("…", LOOK, &text);
        let undo = r#"'{"spec":{"decommission":null}}'"#;
        page.command(&format!(
            "kubectl patch aisystem {name} --type=merge -p {undo} -n {}{}",
            session.namespace, session.flags
        ));
        anstream::print!("\n{}", page.finish());
        return;
    }
    let api = Api::<AISystem>::namespaced(session.client.clone(), &session.namespace);
    let is_over = |system: Option<&AISystem>| {
        system.and_then(|system| system.status.as_ref()?.decommissioned).unwrap_or_default()
    };
    let seen = tokio::time::timeout(STATUS_TIMEOUT, await_condition(api, name, is_over)).await;
    if matches!(seen, Ok(Ok(_))) {
        page.mark("✓", GOOD, &format!("{name} is decommissioned, and its pods are stopping"));
    } else {
        page.mark("!", LOOK, &format!("{name} ends now, but the operator has not acted on it yet"));
    }
    page.mark("-", PLAIN, "the AISystem stays as a record. Remove its workloads. Show its history:");
    page.command(&format!("kubectl assent history {name} -n {}{}", session.namespace, session.flags));
    anstream::print!("\n{}", page.finish());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{fixtures::PLACE, until};

    #[test]
    fn proposed_decommission_keeps_every_typed_flag() {
        let request = DecommissionRequest {
            system: "chat".to_owned(),
            date: Some(until("90d").expect("a date")),
            reason: Some("replaced".to_owned()),
            successor: Some("assistant".to_owned()),
            force: true,
            yes: true,
        };
        let wanted = "kubectl assent decommission chat --date 90d --reason replaced --successor assistant --force \
            -n lending";
        assert_eq!(request.typed(PLACE).to_string(), wanted);
    }
}
