//! Shows the risks and the hosted models of a system. A person can read these sections without knowledge of containers.
//!
//! ```text
//!  AISystem ─┬─ risks ─────────────────────► RISKS: rating, treatment, owner, dates of reviews
//!            └─ hosted models, suppliers ──► HOSTED MODELS: model, agreement, retirement, certifications
//! ```

use k8s_openapi::jiff::Timestamp;

use super::Review;
use crate::{
    api::{Certification, Digest, HostedModel, Provider, ReviewDates, Risk, RiskRating},
    cli::render::{
        page::{BAD, FAINT, LOOK, PLAIN, Page},
        time::in_words,
    },
    policy::certifier,
};

/// Shows the risks. Shows nothing if the system states none.
pub fn risks(page: &mut Page, review: &Review<'_>) {
    let (system, now) = (&review.system.spec, review.now);
    if system.risks.is_empty() {
        return;
    }
    page.heading("RISKS, as the owners of the system rate them");
    let level = review.record.level.as_ref();
    if level.is_none_or(|level| level.spec.risks.is_none()) {
        page.mark("!", LOOK, "you do not sign them, because the risk level does not require risks");
    }
    for Risk { name, description, treatment, measures, owner, residual, review } in &system.risks {
        let (mark, style) = match residual {
            RiskRating::Low | RiskRating::Medium => ("-", PLAIN),
            RiskRating::High | RiskRating::Critical => ("!", LOOK),
        };
        page.mark(mark, style, &format!("{name}: {description}"));
        let measures = measures.as_ref().map(|measures| format!(" by: {measures}")).unwrap_or_default();
        page.mark(" ", FAINT, &format!("{residual} after the treatment {treatment:?}{measures}"));
        page.mark(" ", FAINT, &format!("owner {owner}; {}", dates(review, now)));
    }
}

/// Shows the hosted models with their suppliers. Shows nothing if the system states neither.
pub fn hosted_models(page: &mut Page, review: &Review<'_>) {
    let (system, now) = (&review.system.spec, review.now);
    let shown = |digest: &Digest| if review.full { digest.to_string() } else { digest.short() };
    if system.hosted_models.is_empty() && system.suppliers.is_empty() {
        return;
    }
    page.heading("HOSTED MODELS: the system calls them at their providers");
    for hosted in &system.hosted_models {
        let HostedModel { name, provider, model, version, region, endpoint, agreement, retires_at } = hosted;
        let version = version.as_ref().map_or(String::new(), |version| format!(" version {version}"));
        page.mark("-", PLAIN, &format!("{name}: {model}{version} of {provider}"));
        let region = region.as_ref().map_or("no region stated", |region| region);
        let endpoint = endpoint.as_ref().map_or("no endpoint stated", |endpoint| endpoint);
        page.mark(" ", FAINT, &format!("{region}; {endpoint}"));
        match agreement {
            Some(agreement) => {
                page.mark(" ", FAINT, &format!("agreement {}  {}", agreement.uri, shown(&agreement.digest)));
            }
            None => page.mark("!", LOOK, "no agreement stated"),
        }
        if let Some(end) = retires_at {
            let style = if end.0 <= now { BAD } else { LOOK };
            page.mark(
                "!",
                style,
                &format!("the provider retires it: {} (you do not sign this date)", in_words(end.0, now)),
            );
        }
    }
    for Provider { name, certifications } in &system.suppliers {
        let held = certifications.iter().map(|held| certification(review, name, held)).collect::<Vec<_>>();
        let held = if held.is_empty() { "no certification".to_owned() } else { held.join("; ") };
        page.mark("-", PLAIN, &format!("supplier {name} (you do not sign this): {held}"));
    }
}

/// A certification in one line: name, end, signer, address and digest. If there is no valid signature, or if the key of
/// the signer has ended, the line says `self-asserted` instead of the signer. Only the owners of the system assert a
/// self-asserted certification.
pub fn certification(review: &Review<'_>, holder: &str, certification: &Certification) -> String {
    let Certification { name, not_after, uri, digest, signature } = certification;
    let (now, roles) = (review.now, &review.record.keys);
    let by = match (certifier(holder, certification, roles), signature) {
        (Ok(Some(key)), Some(signature)) if key.not_after.as_ref().is_none_or(|end| now < end.0) => {
            format!("signed by {} as {}", key.approver.user, signature.role)
        }
        (Ok(Some(key)), _) => format!("self-asserted: the key of {} has ended", key.approver.user),
        (Ok(None), _) => "self-asserted".to_owned(),
        (Err(why), _) => format!("self-asserted: {why}"),
    };
    let end = not_after.as_ref().map(|end| in_words(end.0, now));
    let end = end.map_or("no end stated".to_owned(), |end| format!("until {end}"));
    let uri = uri.as_ref().map(|uri| format!("  {uri}")).unwrap_or_default();
    let digest = digest.as_ref().map_or("no digest".to_owned(), Digest::short);
    format!("{name}, {end}, {by}{uri}  {digest}")
}

/// The dates of the last and the next review in words.
pub fn dates(review: &ReviewDates, now: Timestamp) -> String {
    let last = match &review.last {
        Some(last) if last.0 > now => format!("last review {} (in the future)", in_words(last.0, now)),
        Some(last) => format!("last review {}", in_words(last.0, now)),
        None => "no last review stated".to_owned(),
    };
    let next = match &review.next {
        Some(next) if next.0 <= now => format!("next review overdue since {}", in_words(next.0, now)),
        Some(next) => format!("next review {}", in_words(next.0, now)),
        None => "no next review stated".to_owned(),
    };
    format!("{last}, {next}")
}
