//! Shows a system, its documents, and the requirements of its risk level. A person can read these sections
//! without knowledge of containers.
//!
//! ```text
//!  AISystem ───► SYSTEM
//!  RiskLevel ──► RISK LEVEL
//! ```

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;

use super::{
    Review,
    risks::{self, certification},
};
use crate::{
    api::{
        Attribution, BreachBar, Control, Decision, Digest, Document, Evidence, ImagePolicy, Monitor,
        MonitorSpec, MonitorState, OnLossMode, OverdueAction, Owner, OwnerKind, RequiredMonitor,
        RequiredReview, RiskLevel, RiskLevelSpec, SystemReference, VolumeKind,
    },
    cli::render::{
        page::{BAD, LOOK, Page, STRONG},
        time::{in_words, two_units},
    },
};

/// Shows the purpose, the owners, the authors and the other facts about a system. The review of an approval also shows
/// the documents, and without `--full` the risk level in short.
pub fn system(page: &mut Page, review: &Review<'_>) {
    let spec = &review.system.spec;
    page.heading("SYSTEM");
    page.prose("purpose", &spec.intended_purpose);
    page.styled_field("risk level", STRONG, &spec.risk_level);
    if review.decision == Decision::Approve && !review.full {
        level_in_short(page, review);
    }
    page.field("jurisdictions", &or_none(&spec.jurisdictions));
    page.field("owners", &spec.owners.iter().map(owner).collect::<Vec<_>>().join(", "));
    let (system, version) = (&review.system.metadata, &review.version.metadata);
    let authors = [system, version].map(|metadata| Attribution::of(metadata).in_words());
    page.field("written by", &format!("{}; the version by: {}", authors[0], authors[1]));
    if let Some(provider) = &spec.provider {
        page.field("provider", &provider.name);
        let held = provider.certifications.iter().map(|c| certification(review, &provider.name, c));
        page.list("certified for", held);
    }
    if !spec.depends_on.is_empty() {
        page.field("depends on", &spec.depends_on.iter().map(reference).collect::<Vec<_>>().join(", "));
    }
    if let Some(monitors) = review.record.monitors.as_ref().filter(|monitors| !monitors.is_empty()) {
        page.list("monitors", monitors.iter().map(monitor));
    }
    if let Some(end) = &spec.decommission {
        page.styled_field("retires", LOOK, &in_words(end.date.0, review.now));
        page.prose("because", &end.reason);
    }
    if review.decision == Decision::Approve {
        documents(page, review);
    }
}

/// Shows the approvals that the level requires, and the effect of a lost clearance. Of the controls, shows only the
/// number. Of the other requirements that the operator checks, shows only the number too. The section on evidence shows
/// the required assessments.
fn level_in_short(page: &mut Page, review: &Review<'_>) {
    let Some(RiskLevel { spec: level, .. }) = &review.record.level else {
        page.mark("✗", BAD, &format!("there is no RiskLevel {}", review.system.spec.risk_level));
        return;
    };
    if level.prohibited {
        page.mark("✗", BAD, "prohibited: no system of this level may run, even if approved");
    }
    let approvals = level.approvals.iter().map(|r| format!("{} × {}", r.count, r.role)).collect::<Vec<_>>();
    let one = if level.separation_of_duties { "; one person fills one role" } else { "" };
    page.prose("approvals", &format!("{}{one}", or_none(&approvals)));
    let of_hosted = level.hosted_models.as_ref();
    let of_hosted = of_hosted.map_or(0, |r| r.certifications.len() + usize::from(r.agreement));
    let requirements = level.requirements.len()
        + level.documents.len()
        + level.evidence.len()
        + level.certifications.len()
        + level.monitors.len()
        + usize::from(level.risks.is_some())
        + usize::from(level.document_review.is_some())
        + of_hosted;
    page.prose(
        "on loss",
        &format!(
            "{}; {requirements} requirements, {} controls (--full)",
            on_loss(level),
            level.controls.len()
        ),
    );
}

/// Shows the requirements of the risk level, and the effect of a loss of clearance. The section on evidence shows the
/// required assessments.
pub fn level(page: &mut Page, review: &Review<'_>) {
    let name = &review.system.spec.risk_level;
    page.heading(&format!("RISK LEVEL {name}"));
    let Some(RiskLevel { metadata, spec: level, .. }) = &review.record.level else {
        page.mark("✗", BAD, &format!("there is no RiskLevel {name}"));
        return;
    };
    page.field("changed by", &Attribution::of(metadata).in_words());
    if level.prohibited {
        page.mark("✗", BAD, "prohibited: no system of this level may run, even if approved");
    }
    if let Some(description) = &level.description {
        page.prose("meaning", description);
    }
    page.list("approvals", level.approvals.iter().map(|r| format!("{} × {}", r.count, r.role)));
    if level.separation_of_duties {
        page.prose("", "duties are separated: one person fills one role; owners and authors do not count");
    }
    requirements(page, level);
    page.list("controls", level.controls.iter().map(control));
}

fn requirements(page: &mut Page, level: &RiskLevelSpec) {
    page.field("documents", &or_none(&level.documents));
    page.field("provenance", &or_none(&level.evidence.iter().map(|e| evidence(*e)).collect::<Vec<_>>()));
    let signed = level.certification_role.as_ref().map(|role| format!("; each signed in role {role}"));
    let signed = signed.unwrap_or_default();
    page.field("certificates", &format!("{}{signed}", or_none(&level.certifications)));
    if let Some(rule) = &level.document_review {
        page.field("reviews", &format!("of each required document: {}", review_rule(rule)));
    }
    if let Some(risks) = &level.risks {
        let most =
            risks.max_residual.map_or("of any rating".to_owned(), |most| format!("rated at most {most}"));
        let rule = risks.review.as_ref().map(|rule| format!("; reviews: {}", review_rule(rule)));
        page.field("risks", &format!("at least one, each {most}{}", rule.unwrap_or_default()));
    }
    if let Some(hosted) = &level.hosted_models {
        let agreement = if hosted.agreement { "; each needs an agreement" } else { "" };
        page.field(
            "hosted models",
            &format!("certificates: {}{signed}{agreement}", or_none(&hosted.certifications)),
        );
    }
    if !level.monitors.is_empty() {
        page.list("monitors", level.monitors.iter().map(required_monitor));
    }
    let images = match level.images {
        ImagePolicy::Digest => "by digest only: the approved image is the one that runs",
        ImagePolicy::Tag => "by digest or tag: a tag can move after the approval",
    };
    page.field("images", images);
    if !level.forbidden_volumes.is_empty() {
        let kinds: Vec<_> = level.forbidden_volumes.iter().map(VolumeKind::to_string).collect();
        page.field("volumes", &format!("none of kind {}", kinds.join(", ")));
    }
    let holds = level.validity.and_then(|v| SignedDuration::try_from(Duration::from(v)).ok());
    page.field("approval holds", &holds.map_or("until it is withdrawn".to_owned(), two_units));
    page.field("on loss", &on_loss(level));
}

fn monitor(monitor: &Monitor) -> String {
    let MonitorSpec { metric, breach, on_breach, .. } = &monitor.spec;
    let state = monitor.status.as_ref().and_then(|status| status.state);
    let state = state.map_or("not measured yet", MonitorState::name);
    format!("{}: {metric}{}, on a breach {on_breach:?}; now {state}", monitor.name_any(), limit(breach))
}

fn required_monitor(required: &RequiredMonitor) -> String {
    let RequiredMonitor { name, metric, breach, on_breach, .. } = required;
    format!("{name}: {metric}{}, on a breach at least {on_breach:?}", limit(breach))
}

/// The limit of a monitor in words. Empty for a monitor that watches an alert, because an alert has no limit.
fn limit(breach: &BreachBar) -> String {
    let above = breach.above.map(|limit| format!(" above {limit}"));
    let below = breach.below.map(|limit| format!(" below {limit}"));
    above.or(below).unwrap_or_default()
}

fn review_rule(rule: &RequiredReview) -> String {
    let age = rule.max_age.and_then(|age| SignedDuration::try_from(Duration::from(age)).ok());
    let age = age.map_or("at the stated date".to_owned(), |age| format!("every {}", two_units(age)));
    let overdue = match rule.overdue {
        OverdueAction::Withhold => "no version runs without it",
        OverdueAction::Warn => "only a warning without it",
    };
    format!("{age}, {overdue}")
}

fn on_loss(level: &RiskLevelSpec) -> String {
    let grace = SignedDuration::from_secs(level.on_loss.grace_period_seconds.into());
    match level.on_loss.mode {
        OnLossMode::Audit => "pods continue to run: onLoss.mode is Audit".to_owned(),
        _ => format!("pods stop within {}", two_units(grace)),
    }
}

fn documents(page: &mut Page, review: &Review<'_>) {
    let document = |document: &Document| {
        let Document { type_, uri, digest, owner, version, review: dates } = document;
        let shown = |digest: &Digest| if review.full { digest.to_string() } else { digest.short() };
        let digest = digest.as_ref().map_or("no digest".to_owned(), shown);
        let version = version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
        let owner = owner.as_ref().map(|owner| format!(", owner {owner}")).unwrap_or_default();
        let dates = Some(dates).filter(|dates| !dates.is_empty());
        let dates = dates.map(|dates| format!(", {}", risks::dates(dates, review.now))).unwrap_or_default();
        format!("{type_}{version}  {uri}  {digest}{owner}{dates}")
    };
    page.list("documents", review.system.spec.documentation.iter().map(document));
}

fn reference(system: &SystemReference) -> String {
    let namespace = system.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{namespace}{}", system.name)
}

fn owner(owner: &Owner) -> String {
    match owner.kind {
        OwnerKind::User => owner.name.clone(),
        OwnerKind::Group => format!("group {}", owner.name),
    }
}

fn control(control: &Control) -> String {
    let title = control.title.as_ref().map(|title| format!("  {title}")).unwrap_or_default();
    format!("{} {}{title}", control.framework, control.id)
}

const fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Data => "data",
        Evidence::BaseModel => "base model",
        Evidence::Architecture => "architecture",
        Evidence::Rationale => "rationale",
        Evidence::Tests => "tests",
        Evidence::Sbom => "bill of materials",
    }
}

fn or_none<T: AsRef<str>>(values: &[T]) -> String {
    if values.is_empty() {
        return "none".to_owned();
    }
    values.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}
