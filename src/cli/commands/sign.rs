//! Records a decision about a version: shows the content of the version, asks for confirmation, and signs exactly the
//! shown content.
//!
//! ```text
//!  choose the version and role ─► preflight ─► review ─► ask ─► read again ─► wait ─► create ─► outcome
//! ```
//!
//! An approval contains the digest of the shown content. If the content changes, even before the signature, the
//! approval does not count. A rejection or a revocation also applies to changed content of the same version.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};

use crate::{
    admission::HoldMethod,
    api::{AISystem, Approval, ApprovalSpec, Approver, Decision, Digest, ModelVersion},
    cli::{
        commands::{
            ask, outcome,
            resolve::{self, Act},
        },
        connect::system_record::{SystemRecord, recorded_at},
        connect::{rbac, session::Session},
        error::{Error, Next, Result, can_i, verb},
        render::{
            shell::CommandLine,
            time::{TOO_LATE, Until},
        },
        review::Review,
    },
    policy::ApprovalEffect,
};

/// The field manager of the plugin. The name must not begin with `kubectl`, because Flux reverts fields that a field
/// manager with such a name wrote.
pub const MANAGER: &str = "assent-cli";

/// The resolution of the creation time that the API server sets on a decision.
const SECOND: Duration = Duration::from_secs(1);

/// The longest time that a command waits until the operator has read the latest change of the content.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A decision, as the user requests it on the command line.
#[derive(Clone, Debug)]
pub struct DecisionRequest {
    pub act: Act,
    pub system: String,
    pub version: Option<String>,
    pub role: Option<String>,
    /// The end of the approval, as typed and as parsed.
    pub until: Option<(String, Until)>,
    pub reason: Option<String>,
    /// The value of `--digest`: the digest that the person reviewed. The decision fails if the content has another
    /// digest.
    pub digest: Option<Digest>,
    pub yes: bool,
    pub full: bool,
    /// Whether the request comes from `approve --interactive`, which also offers to reject, skip and quit.
    pub walks: bool,
}

/// A decision whose version, role, digest and end are known.
pub struct ResolvedDecision<'a> {
    pub session: &'a Session,
    pub request: &'a DecisionRequest,
    /// The command that the user typed, with the reason, the version and the role of the decision.
    pub typed: CommandLine,
    pub version: String,
    pub role: String,
    pub digest: Digest,
    pub until: Option<Timestamp>,
    /// The approver that this program writes to the Approval. `None` if a `MutatingAdmissionPolicy` writes the
    /// approver, or if an SSH key signs the decision.
    pub signer: Option<Approver>,
}

pub async fn sign(session: &Session, request: DecisionRequest) -> Result<()> {
    let now = Timestamp::now();
    let until = request.end(now)?;
    let typed = request.typed(&session.place());
    let request = DecisionRequest { reason: reason(&request, &typed)?, ..request };
    let typed = typed.with("--reason", &request.reason);
    let record = request.record(session).await?;
    let system = record.system(&session.client).await?;
    let version = resolve::version(&record, request.act, request.version.as_deref(), &typed, now)?;
    let role = resolve::role(session, &record, version, request.role.as_deref(), &typed).await?;
    let digest = request.digest_of(&record, version, &typed)?;
    let version_name = version.name_any();
    let typed = typed.with("--version", [&version_name]).with("--role", [&role]);
    let signer = signer(session).await?;
    let decision = ResolvedDecision {
        session,
        request: &request,
        typed,
        version: version_name,
        role,
        digest,
        until,
        signer,
    };
    let (clock, approver) = decision.preflight().await?;
    // From here on, `now` is the time for which the command predicts the effect of the decision. This time is at least
    // one second after the last decision that would void an approval, because an approval waits for this second.
    let now = decision.barrier(&record, version, &approver).map_or(clock, |after| clock.max(after + SECOND));
    decision.refuse_shorter(&record, version, &approver, now)?;
    decision.review(&record, system, version, &approver, now)?;
    let record = decision.read_again(&record).await?;
    let approval = decision.record(&record, &approver).await?;
    outcome::report(session, &approval, &record).await
}

/// Returns the user that this program must write as the approver. Returns `None` if a `MutatingAdmissionPolicy` writes
/// the approver.
pub async fn signer(session: &Session) -> Result<Option<Approver>> {
    let hold_method = HoldMethod::of(&session.client)
        .await
        .map_err(Error::api("find out whether the API server has MutatingAdmissionPolicies"))?;
    if hold_method == HoldMethod::Gate {
        return Ok(None);
    }
    rbac::myself(&session.client).await.map(Some)
}

/// Returns the reason of the request. A rejection or a revocation must have a reason. If the request has no reason for
/// such a decision, asks the user for the reason.
pub fn reason(request: &DecisionRequest, typed: &CommandLine) -> Result<Option<String>> {
    if request.act.decision() == Decision::Approve {
        return Ok(request.reason.clone());
    }
    let missing = || {
        let command = typed.clone().with("--reason", ["TEXT"]).to_string();
        Error::NoReason { act: request.act.verb(), command }
    };
    ask::reason(request.reason.as_deref(), request.act.verb(), &request.system, missing).map(Some)
}

impl DecisionRequest {
    /// The end of the approval. Fails if this end is not in the future, or is after the year 9999.
    pub fn end(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let Some((text, until)) = &self.until else { return Ok(None) };
        let end = until.instant(now).ok_or_else(|| Error::Flag {
            flag: "--until",
            value: text.clone(),
            why: format!("{TOO_LATE}, such as 90d"),
        })?;
        if end > now { Ok(Some(end)) } else { Err(Error::Past { until: text.clone() }) }
    }

    pub fn typed(&self, place: &str) -> CommandLine {
        CommandLine::new(self.act.verb(), &[&self.system], place)
            .with("--version", &self.version)
            .with("--role", &self.role)
            .with("--until", self.until.iter().map(|(text, _)| text))
            .with("--reason", &self.reason)
            .with("--digest", &self.digest)
            .with_switch("--full", self.full)
    }

    /// Reads the record of the system. For an approval, waits up to `READ_TIMEOUT` until the operator has read the
    /// latest content of the version. So a person can approve directly after `kubectl apply`.
    pub async fn record(&self, session: &Session) -> Result<SystemRecord> {
        let begin = Instant::now();
        let mut announced = false;
        loop {
            let record = SystemRecord::read(&session.client, &session.namespace, &self.system).await?;
            let approves = self.act.decision() == Decision::Approve;
            if !approves || record.is_read(self.version.as_deref()) || begin.elapsed() >= READ_TIMEOUT {
                return Ok(record);
            }
            if !announced {
                anstream::eprintln!(
                    "waiting up to {READ_TIMEOUT:?} until the operator reads the latest change"
                );
                announced = true;
            }
            tokio::time::sleep(READ_TIMEOUT / 20).await;
        }
    }

    /// Computes the digest of the content of `version`. Fails if `--digest` states another digest. An approval also
    /// fails if the operator computed another digest.
    pub fn digest_of(
        &self,
        record: &SystemRecord,
        version: &ModelVersion,
        typed: &CommandLine,
    ) -> Result<Digest> {
        let name = version.name_any();
        let subject = format!("{name} of {}", record.name);
        let Some(digest) = record.digest(version) else {
            return Err(Error::Choose {
                question: format!("there is no system {}", record.name),
                next: Vec::new(),
            });
        };
        if let Some(expected) = self.digest.as_ref().filter(|expected| **expected != digest) {
            let review = typed.clone().with("--version", [&name]).without("--digest").to_string();
            return Err(Error::DigestChanged { subject, expected: expected.clone(), found: digest, review });
        }
        let theirs = version.status.as_ref().and_then(|status| status.subject_digest.clone());
        match theirs.filter(|theirs| *theirs != digest) {
            Some(theirs) if self.act.decision() == Decision::Approve => Err(Error::OperatorDisagrees {
                subject,
                ours: digest,
                theirs,
                next: disagreement(record, &name, typed),
            }),
            Some(theirs) => {
                let text = format!(
                    "warning: the status of {subject} has digest {theirs}, but its content has {digest}"
                );
                anstream::eprintln!(
                    "{}",
                    crate::cli::render::page::styled(crate::cli::render::page::LOOK, &text)
                );
                Ok(digest)
            }
            None => Ok(digest),
        }
    }
}

fn disagreement(record: &SystemRecord, version: &str, typed: &CommandLine) -> Vec<Next> {
    let who = format!(
        "kubectl get aisystem/{} modelversion/{version} -o yaml --show-managed-fields{}",
        record.name,
        typed.place()
    );
    vec![
        Next::new(typed.clone().with("--version", [version]).to_string(), "wait a moment and review again"),
        Next::new(who, "if this does not help: see who wrote each field, and when"),
    ]
}

impl ResolvedDecision<'_> {
    fn approvals(&self) -> Api<Approval> {
        Api::namespaced(self.session.client.clone(), &self.session.namespace)
    }

    fn subject(&self) -> String {
        format!("{} of {}", self.version, self.request.system)
    }

    const fn decision(&self) -> Decision {
        self.request.act.decision()
    }

    pub fn approval(&self) -> Approval {
        Approval {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-{}-", self.version, verb(self.decision()))),
                ..ObjectMeta::default()
            },
            spec: ApprovalSpec {
                system: self.request.system.clone(),
                model_version: self.version.clone(),
                subject_digest: self.digest.clone(),
                decision: self.decision(),
                role: self.role.clone(),
                assessments: Vec::new(),
                incident: None,
                override_: None,
                outcome: None,
                reason: self.request.reason.clone(),
                not_after: self.until.map(Time),
                approver: self.signer.clone(),
                signature: None,
            },
            status: None,
        }
    }

    async fn create(&self, dry_run: bool) -> Result<Approval> {
        let created = self.approvals().create(&params(dry_run), &self.approval()).await;
        created.map_err(|source| Error::Api {
            doing: format!(
                "record your decision to {} {} in namespace {} as {}",
                verb(self.decision()),
                self.subject(),
                self.session.namespace,
                self.role
            ),
            source: Box::new(source),
            next: vec![can_i(&self.role)],
        })
    }

    /// Creates the Approval as a dry run. Returns the time and the approver that the API server would record. Fails if
    /// the API server would record no approver.
    async fn preflight(&self) -> Result<(Timestamp, Approver)> {
        if self.signer.is_some() {
            // The admission policies refuse an Approval without an approver. If the API server accepts such an
            // Approval, the policies are missing.
            let mut unsigned = self.approval();
            unsigned.spec.approver = None;
            if self.approvals().create(&params(true), &unsigned).await.is_ok() {
                return Err(Error::NotStamped);
            }
        }
        let approval = self.create(true).await?;
        let at = recorded_at(&approval).unwrap_or_else(Timestamp::now);
        Ok((at, approval.spec.approver.ok_or(Error::NotStamped)?))
    }

    /// Fails if an earlier approval by the same person in the same role ends later than the new approval. Only the
    /// approval that ends last counts, so the new approval would have no effect.
    fn refuse_shorter(
        &self,
        record: &SystemRecord,
        version: &ModelVersion,
        approver: &Approver,
        now: Timestamp,
    ) -> Result<()> {
        let Some(until) = self.until else { return Ok(()) };
        let effects = record.rule(version, None, now).effects;
        let decisions = record.decisions(version);
        let own = decisions.iter().filter_map(|approval| record.statement(approval)).filter(|s| {
            s.decision == Decision::Approve
                && (&s.approver.user, s.role) == (&approver.user, self.role.as_str())
                && effects.get(s.name) == Some(&ApprovalEffect::Counted)
        });
        let later = own.map(|s| record.end(&s)).find(|end| end.is_none_or(|end| end > until));
        let Some(standing) = later else { return Ok(()) };
        let revoke = CommandLine::new("revoke", &[&self.request.system], self.typed.place())
            .with("--version", [&self.version])
            .with("--role", [&self.role])
            .with("--reason", ["shorter term"]);
        Err(Error::Shortens {
            until,
            standing,
            role: self.role.clone(),
            now,
            next: vec![
                Next::new(revoke.to_string(), "to shorten it, revoke first (this stops the running pods)"),
                Next::new(self.typed.to_string(), "then approve again"),
            ],
        })
    }

    pub fn review(
        &self,
        record: &SystemRecord,
        system: &AISystem,
        version: &ModelVersion,
        approver: &Approver,
        now: Timestamp,
    ) -> Result<()> {
        let review = Review {
            record,
            system,
            version,
            digest: &self.digest,
            decision: self.decision(),
            role: &self.role,
            approver,
            until: self.until,
            reason: self.request.reason.as_deref(),
            full: self.request.full,
            now,
        };
        anstream::print!("{}", review.render());
        self.confirm()
    }

    /// Asks the person to type the name of the system before an approval, or `y` before any other decision. With
    /// `--yes`, asks nothing.
    fn confirm(&self) -> Result<()> {
        if self.request.yes {
            return Ok(());
        }
        if !ask::is_interactive() {
            let command = self.typed.clone().with("--digest", [&self.digest]).confirmed();
            return Err(Error::NotATerminal { command });
        }
        match self.decision() {
            Decision::Approve if self.request.walks => ask::for_name_or_choice(&self.request.system),
            Decision::Approve => ask::for_name(&self.request.system, "sign"),
            decision => ask::for_yes(&format!("{} {}", capitalised(verb(decision)), self.subject())),
        }
    }

    /// Reads the record of the system again. Fails if the content of the version changed after the review. An approval
    /// also fails if the risk level changed, or if the version has a new rejection or revocation.
    async fn read_again(&self, before: &SystemRecord) -> Result<SystemRecord> {
        let after =
            SystemRecord::read(&self.session.client, &self.session.namespace, &self.request.system).await?;
        let changed = |what: String| {
            let review = self.typed.clone().without("--digest").to_string();
            Err(Error::ChangedMeanwhile { what, review })
        };
        let digest = after.version(&self.version).and_then(|version| after.digest(version));
        if digest.as_ref() != Some(&self.digest) {
            return changed(format!("{} changed", self.subject()));
        }
        if self.decision() != Decision::Approve {
            return Ok(after);
        }
        if before.level.as_ref().map(|l| &l.spec) != after.level.as_ref().map(|l| &l.spec) {
            return changed("the requirements of the risk level changed".to_owned());
        }
        let known: BTreeSet<_> = before.approvals.iter().map(ResourceExt::name_any).collect();
        let objection = after.approvals.iter().find(|a| {
            (a.spec.model_version == self.version || a.spec.subject_digest == self.digest)
                && a.spec.decision.withholds()
                && !known.contains(&a.name_any())
        });
        let Some(objection) = objection else { return Ok(after) };
        let approver = after.approver(objection);
        let who = approver.as_ref().map_or("an unknown person", |a| &a.user);
        let why = objection.spec.reason.as_deref().unwrap_or("no reason given");
        changed(format!("{who} decided to {} it ({why})", verb(objection.spec.decision)))
    }

    /// Creates the Approval. If the decision is an approval, first waits until the second after the last decision that
    /// would void this approval.
    async fn record(&self, record: &SystemRecord, approver: &Approver) -> Result<Approval> {
        if self.decision() == Decision::Approve {
            let barrier = record.version(&self.version).and_then(|v| self.barrier(record, v, approver));
            self.wait_for_next_second(barrier).await?;
        }
        self.create(false).await
    }

    /// The time of the last decision that would void an approval recorded in the same second or earlier. Such a decision
    /// is a revocation, or a rejection by this approver in this role. `None` if there is no such decision.
    fn barrier(
        &self,
        record: &SystemRecord,
        version: &ModelVersion,
        approver: &Approver,
    ) -> Option<Timestamp> {
        let decisions = record.decisions(version);
        let voiding =
            decisions.iter().filter_map(|approval| record.statement(approval)).filter(|s| match s.decision {
                Decision::Revoke => true,
                Decision::Reject => (&s.approver.user, s.role) == (&approver.user, self.role.as_str()),
                _ => false,
            });
        voiding.map(|s| s.at).max()
    }

    /// Waits until the API server would record a time later than `barrier`. The API server records times in whole
    /// seconds, so an approval in the same second as the barrier would have the same time.
    async fn wait_for_next_second(&self, barrier: Option<Timestamp>) -> Result<()> {
        let Some(barrier) = barrier else { return Ok(()) };
        let mut announced = false;
        while self.preflight().await?.0 <= barrier {
            if !announced {
                anstream::println!(
                    "An approval in the same second as a rejection or revocation does not count: waiting for the next second."
                );
                announced = true;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

pub fn params(dry_run: bool) -> PostParams {
    PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
