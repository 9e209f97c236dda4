//! Renders an explanation as text. The order is: the mode of the namespace, refusals, the conclusions about the pods,
//! the versions, monitors and overrides of each system, and the people who can act.

use k8s_openapi::jiff::Timestamp;

use super::{
    finding::{
        Closest, Explanation, OPERATOR, PodFinding, RoleFinding, SystemFinding, VersionFinding,
        WaivedFinding, how_to_find_holders,
    },
    pod_group::State,
};
use crate::{
    api::{MODE_LABEL, Mode, MonitorState},
    cli::{
        commands::safeguards::Safeguards,
        render::{
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            time::{in_words, relative},
        },
    },
};

/// The maximum number of pod names in a heading.
const NAMED: usize = 3;

pub fn render(explanation: &Explanation, now: Timestamp) -> String {
    let mut page = Page::default();
    page.say(STRONG, &format!("{} in namespace {}", explanation.object, explanation.namespace));
    namespace(&mut page, explanation);
    if explanation.has_clearance == Some(false) && explanation.enforced == Some(true) {
        page.mark("✗", BAD, "it has no Clearance, so the API server refuses every pod. The operator writes it: check that it runs");
        page.step("→", PLAIN, OPERATOR);
    }
    for refusal in &explanation.refusals {
        let when = refusal.at.map(|at| format!(" {}", relative(at, now))).unwrap_or_default();
        page.mark("✗", BAD, &format!("the API server refused its pods{when}: {}", refusal.message));
    }
    for pod in &explanation.pods {
        pods(&mut page, pod);
    }
    if explanation.pods.is_empty() {
        page.blank();
        let none = if explanation.is_image { "no pod in this namespace has it" } else { "it has no pods" };
        page.mark("-", FAINT, none);
    }
    for system in &explanation.systems {
        versions(&mut page, system, &explanation.pods, now);
        safeguards(&mut page, system);
    }
    if explanation.is_image && explanation.systems.is_empty() {
        page.mark("✗", BAD, "no ModelVersion names it: no pod with it can run in a namespace that enforces");
        page.step(
            "→",
            PLAIN,
            &format!("kubectl assent capture deployment/NAME -n {}", explanation.namespace),
        );
    }
    if !explanation.roles.is_empty() {
        who(&mut page, &explanation.roles);
    }
    page.finish()
}

fn namespace(page: &mut Page, explanation: &Explanation) {
    let name = &explanation.namespace;
    if let Some(mode @ (Mode::Warn | Mode::Audit)) = explanation.mode {
        let text = format!(
            "namespace {name} has the label {MODE_LABEL}={mode}: pods that are not cleared run, but would be held if it enforced"
        );
        return page.mark("!", LOOK, &text);
    }
    match explanation.enforced {
        Some(true) => {
            page.mark("-", PLAIN, &format!("namespace {name} enforces: only cleared pods run"));
        }
        Some(false) => page.mark(
            "!",
            LOOK,
            &format!("namespace {name} does not enforce: it has no label {MODE_LABEL}={}", Mode::Enforce),
        ),
        None => page.mark(
            "!",
            LOOK,
            &format!("you may not read namespace {name}, so it is unknown whether it enforces"),
        ),
    }
}

fn pods(page: &mut Page, pod: &PodFinding) {
    page.heading(&title(pod));
    if pod.cleared {
        page.mark("✓", GOOD, &pod.conclusion);
    } else {
        page.mark("✗", BAD, &pod.conclusion);
    }
    if let Some(Closest { version, difference }) = &pod.closest {
        page.mark("-", PLAIN, &format!("the difference (- {version}, + this pod):"));
        page.difference(difference);
    }
    for next in &pod.next {
        page.step("→", PLAIN, next);
    }
}

fn title(pod: &PodFinding) -> String {
    let state = match pod.state {
        State::Held => "held until cleared",
        State::Admitted => "admitted",
        State::Stopping => "stopping",
        State::Ended => "ended",
        State::NotCreated => return "POD TEMPLATE without pods".to_owned(),
    };
    let named = pod.names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = pod.names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let noun = if pod.names.len() == 1 { "POD" } else { "PODS" };
    format!("{noun} {named}{more}: {state}")
}

fn versions(page: &mut Page, system: &SystemFinding, pods: &[PodFinding], now: Timestamp) {
    let level = system.risk_level.as_ref().map(|level| format!(", risk level {level}")).unwrap_or_default();
    page.heading(&format!("VERSIONS of {}{level}", system.name));
    if !system.exists {
        page.mark("✗", BAD, &format!("there is no AISystem {}", system.name));
    }
    if system.versions.is_empty() {
        page.mark("-", FAINT, "none");
    }
    for version in &system.versions {
        verdict(page, version, now);
        for WaivedFinding { by, until, message } in &version.waived {
            let until = in_words(*until, now);
            page.mark("  !", LOOK, &format!("override/{by} waives until {until}: {message}"));
        }
        if matched(page, system, version, pods) {
            continue;
        }
        for reason in &version.reasons {
            page.mark("  -", PLAIN, &reason.message);
            page.step("    →", FAINT, &reason.remedy);
        }
    }
}

fn safeguards(page: &mut Page, system: &SystemFinding) {
    let Safeguards { monitors, overrides } = &system.safeguards;
    if let Some(monitors) = monitors.as_ref().filter(|monitors| !monitors.is_empty()) {
        page.heading(&format!("MONITORS of {}", system.name));
        for monitor in monitors {
            let (mark, style) = match monitor.state {
                Some(MonitorState::Within) => ("✓", GOOD),
                Some(MonitorState::Breached) => ("✗", BAD),
                Some(MonitorState::Unknown) | None => ("!", LOOK),
            };
            let message = monitor.message.as_deref().unwrap_or("the operator has not queried it yet");
            let text = format!("{} ({}) is {}: {message}", monitor.name, monitor.metric, monitor.state());
            page.mark(mark, style, &text);
        }
    }
    if !overrides.is_empty() {
        page.heading(&format!("OVERRIDES of {}", system.name));
        for about in overrides {
            page.mark("!", LOOK, &format!("{} for {}: {}", about.name, about.version, about.message));
        }
    }
}

fn verdict(page: &mut Page, version: &VersionFinding, now: Timestamp) {
    let name = &version.name;
    if version.cleared {
        let until =
            version.not_after.map_or("with no end".to_owned(), |end| format!("until {}", in_words(end, now)));
        page.mark("✓", GOOD, &format!("{name} is cleared {until}"));
    } else {
        page.mark("✗", BAD, &format!("{name} is not cleared"));
    }
    if version.in_force == Some(false) {
        page.mark("  !", LOOK, "the Clearance is not up to date: the operator must update it");
    }
}

/// Prints whether the pods match the version. Returns `true` if a pod matches. The section about this pod already
/// states why the version is not cleared, so the caller does not state the reasons again.
fn matched(page: &mut Page, system: &SystemFinding, version: &VersionFinding, pods: &[PodFinding]) -> bool {
    let of_system: Vec<_> = pods.iter().filter(|pod| pod.system.as_ref() == Some(&system.name)).collect();
    if of_system.is_empty() {
        return false;
    }
    let matching = of_system.iter().filter(|pod| pod.matches.contains(&version.name)).count();
    let text = match (matching, of_system.len()) {
        (0, _) => "none of these pods matches it",
        (some, all) if some < all => "some of these pods match it, see above",
        _ => "these pods match it, see above",
    };
    page.mark("  -", FAINT, text);
    matching > 0
}

fn who(page: &mut Page, roles: &[RoleFinding]) {
    page.heading("WHO CAN ACT: the roles whose approval is missing, and who holds them");
    for RoleFinding { role, holders, not_read } in roles {
        match holders {
            Some(holders) if holders.is_empty() => {
                page.styled_field(role, BAD, "no person: bind a ClusterRole with the verb approve on it");
            }
            Some(holders) => page.field(role, &holders.join(", ")),
            None => {
                let why = not_read.as_deref().unwrap_or_default();
                let why = format!("not known: {why}. A user who may list them can run:");
                page.styled_field(role, FAINT, &why);
                for command in how_to_find_holders() {
                    page.command(&command);
                }
            }
        }
    }
}
