//! End-to-end tests of Assent on a real control plane. A test is called a trial in `libtest_mimic`.
//!
//! Some test names begin with `i1` to `i5`. Such a test checks the promise with this number in `docs/concepts.md`.
//!
//! - A test of `shared!` uses the shared control plane, in its own namespace. The first of these tests starts the
//!   control plane. These tests come after the tests of `own!` in the list.
//! - A test of `own!` with `(lend)` can stop and restart processes, so it needs a control plane for itself. The test
//!   gets an idle control plane, or a new one if none is idle. After the test passes, the namespaces of the test are
//!   deleted. The control plane is then idle again, unless the shared control plane already runs.
//! - Any other test of `own!` starts a control plane itself.
//! - A test of `on_node!` needs a real node. With `(node)`, it uses the shared control plane. Without `(node)`, it
//!   starts a control plane itself.

mod accelerators;
mod alerting;
mod argocd;
mod assessments;
mod assistant;
mod authors;
mod bad_input;
mod capacity;
mod chaos;
mod chart;
mod check;
mod deadman;
mod decisions;
mod escalation;
mod faults;
mod fields;
mod floods;
mod flux;
mod grace;
mod guard;
mod hostile;
mod incidents;
mod injected;
mod lifecycle;
mod modes;
mod monitor_attacks;
mod monitors;
mod node;
mod opentelemetry;
mod outage;
mod overrides;
mod playground;
mod plugin;
mod pod_api;
mod refusals;
mod refuse;
mod requirements;
mod retries;
mod scale_down;
mod shapes;
mod sidecars;
mod signatures;
mod stateful_sets;
mod suspension;
mod systems;
mod tags;
mod upgrade;
mod warnings;
mod workloads;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Node};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock};

/// For each listed function, makes one trial that runs on the shared control plane.
macro_rules! shared {
    ($stage:expr, $($module:ident :: $test:ident),* $(,)?) => { [$({
        let stage = std::sync::Arc::clone($stage);
        libtest_mimic::Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
            let tested = async {
                let _turn = stage.turn.read().await;
                $module::$test(&stage.shared().await?.cluster).await
            };
            stage.runtime.block_on(tested).map_err(|error: anyhow::Error| format!("{error:#}").into())
        })
    }),*] };
}

/// For each listed function, makes one trial with a control plane for itself. A trial with `(lend)` gets a control
/// plane with Assent, and later trials use the same control plane. So a trial with `(lend)` may stop and restart
/// processes, but must leave all policies and risk levels as they were. Any other trial starts its own control plane.
macro_rules! own {
    ($stage:expr, $($module:ident :: $test:ident $(($lend:ident))?),* $(,)?) => { [$({
        let stage = std::sync::Arc::clone($stage);
        libtest_mimic::Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
            let tested = async || own!(@run stage, $module::$test $(, $lend)?);
            let tested = stage.run_again_if_failed(stringify!($test), tested);
            stage.runtime.block_on(tested).map_err(|error| format!("{error:#}").into())
        })
    }),*] };
    (@run $stage:ident, $test:path) => { $test().await };
    (@run $stage:ident, $test:path, $lend:ident) => { $stage.$lend($test).await };
}

/// For each listed function, makes one trial that needs a real node. If this machine cannot run a node, all these
/// trials are skipped. The trials with `(node)` use the shared control plane and share one node. Any other trial starts
/// its own control plane.
macro_rules! on_node {
    ($stage:expr, $skip:expr, $($module:ident :: $test:ident $(($node:ident))?),* $(,)?) => { [$({
        let stage = std::sync::Arc::clone($stage);
        let trial = libtest_mimic::Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
            let tested = async { on_node!(@run stage, $module::$test $(, $node)?) };
            stage.runtime.block_on(tested).map_err(|error: anyhow::Error| format!("{error:#}").into())
        });
        match $skip {
            Some(reason) => trial.with_kind(format!("skipped: {reason}")).with_ignored_flag(true),
            None => trial,
        }
    }),*] };
    (@run $stage:ident, $test:path) => { $stage.run_again_if_failed(stringify!($test), $test).await };
    (@run $stage:ident, $test:path, $node:ident) => {{
        let _turn = $stage.turn.read().await;
        let cluster = &$stage.shared().await?.cluster;
        let $node = $stage.node.get_or_try_init(|| Node::start(cluster)).await?;
        $test(cluster, $node).await
    }};
}

struct Stage {
    runtime: Runtime,
    /// `node` must be dropped before the control plane. Rust drops fields in the order of their declaration.
    node: OnceCell<Node>,
    shared: OnceCell<Shared>,
    /// Control planes with Assent that no trial uses at the moment. No operator runs on them.
    idle: Mutex<Vec<ControlPlane>>,
    /// A trial that runs beside others holds this lock for reading. A trial that runs alone holds this lock for
    /// writing.
    turn: RwLock<()>,
}

/// `assent` must be dropped before its control plane. Rust drops fields in the order of their declaration.
struct Shared {
    assent: Assent,
    cluster: ControlPlane,
}

impl Stage {
    fn new(runtime: Runtime) -> Self {
        let (node, shared, idle, turn) = Default::default();
        Self { runtime, node, shared, idle, turn }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<ControlPlane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the shared control plane and its operator. The first call starts both.
    async fn shared(&self) -> Result<&Shared> {
        let start = async || {
            // All trials of `own!` start before the trials on the shared control plane. So no later trial needs an idle
            // control plane.
            self.idle().clear();
            let begin = Instant::now();
            let cluster = ControlPlane::start().await?;
            let assent = Assent::install(&cluster).await?;
            eprintln!("Assent is ready after {:.1?}", begin.elapsed());
            Ok(Shared { assent, cluster })
        };
        self.shared.get_or_try_init(start).await
    }

    /// Runs a trial on an idle control plane, or on a new one if none is idle. If the trial fails, no later trial uses
    /// this control plane.
    async fn lend(&self, test: impl AsyncFn(&ControlPlane, &Assent) -> Result<()>) -> Result<()> {
        let idle = self.idle().pop();
        let (cluster, assent) = if let Some(cluster) = idle {
            let assent = Assent::run(&cluster).await?;
            (cluster, assent)
        } else {
            let cluster = ControlPlane::start().await?;
            let assent = Assent::install(&cluster).await?;
            (cluster, assent)
        };
        test(&cluster, &assent).await?;
        drop(assent);
        if !self.shared.initialized() {
            Assent::forget(&cluster).await?;
            self.idle().push(cluster);
        }
        Ok(())
    }

    /// Runs a trial that has its own control plane, beside other trials. The time limits of such a trial assume a
    /// machine that is not overloaded. So if the trial fails, it runs once more, alone and on a new control plane. Then
    /// only the second result counts.
    async fn run_again_if_failed(&self, name: &str, test: impl AsyncFn() -> Result<()>) -> Result<()> {
        let beside = {
            let _turn = self.turn.read().await;
            test().await
        };
        let Err(error) = beside else { return Ok(()) };
        let _turn = self.turn.write().await;
        self.idle().clear();
        eprintln!("{name} failed beside other tests and runs again alone: {error:#}");
        test().await
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // Each trial runs dozens of programs. With more parallel trials, the machine is overloaded and the trials time out.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let stage = Arc::new(Stage::new(Runtime::new()?));
    let conclusion = libtest_mimic::run(&arguments, trials(&stage));
    if let Some(Shared { assent, .. }) = stage.shared.get() {
        let log = assent.operator().log();
        if conclusion.has_failed() {
            eprintln!("Last warnings and errors of the operator:\n{}", last_warnings(log)?);
        }
        let panicked = std::fs::read_to_string(log)?.contains("panicked at");
        ensure!(!panicked, "the operator panicked: {}", last_warnings(log)?);
    }
    Ok(conclusion.exit_code())
}

fn last_warnings(log: &Path) -> Result<String> {
    let log = std::fs::read_to_string(log)?;
    let is_warning = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    let mut last: Vec<_> = log.lines().rev().filter(is_warning).take(10).collect();
    last.reverse();
    Ok(last.join("\n"))
}

#[allow(clippy::too_many_lines, reason = "one line for each test")]
fn trials(stage: &Arc<Stage>) -> Vec<Trial> {
    let shared = shared![
        stage,
        lifecycle::i1_an_unapproved_pod_is_held_and_names_the_missing_approval,
        lifecycle::i1_an_approved_pod_runs,
        lifecycle::i2_a_revocation_stops_pods_and_holds_their_replacements,
        lifecycle::i3_a_deployment_comes_back_unchanged,
        lifecycle::i4_every_decision_and_every_enforcement_is_recorded,
        lifecycle::i2_an_expiry_stops_pods_within_two_seconds,
        lifecycle::i2_a_decommissioned_system_stops_permanently,
        lifecycle::held_pods_start_when_the_mode_label_is_removed,
        lifecycle::a_new_version_waits_while_the_old_one_runs,
        lifecycle::a_system_with_many_large_versions_still_starts,
        lifecycle::a_custom_resource_gets_the_events_of_its_pods,
        workloads::a_new_job_is_suspended_until_it_is_approved,
        workloads::i3_a_running_job_is_suspended_and_resumed_without_failed_pods,
        workloads::completed_indexes_of_a_job_do_not_run_again,
        workloads::a_job_that_its_user_suspended_stays_suspended,
        workloads::a_cron_job_creates_no_jobs_until_it_is_approved,
        workloads::dev_cannot_resume_a_job_that_assent_suspended,
        workloads::an_ungoverned_namespace_resumes_its_jobs,
        workloads::i3_a_stateful_set_stops_in_reverse_order_and_starts_in_order,
        workloads::a_rolled_back_stateful_set_does_not_hang,
        workloads::each_pod_of_a_stateful_set_with_claims_needs_its_own_version,
        workloads::a_stopped_daemon_set_can_still_roll_out,
        workloads::a_stopped_bare_pod_can_be_created_again_from_its_backup,
        workloads::a_stopped_replica_set_starts_again_after_the_approval,
        workloads::i3_scale_down_scales_to_zero_and_back,
        workloads::scale_down_gives_up_if_another_client_keeps_scaling_up,
        workloads::audit_records_a_loss_and_stops_nothing,
        workloads::a_custom_resource_at_the_root_is_scaled_down,
        workloads::a_custom_resource_at_the_root_is_suspended,
        workloads::a_deployment_is_evicted_if_its_level_suspends,
        scale_down::i3_a_clearance_of_another_version_does_not_start_a_stopped_deployment,
        scale_down::a_stopped_deployment_starts_when_it_changes_to_a_cleared_version,
        scale_down::a_scaled_down_deployment_starts_after_its_field_managers_are_reset,
        scale_down::a_rollout_keeps_the_pods_of_the_cleared_version,
        scale_down::a_custom_resource_stays_suspended_until_its_own_version_is_cleared,
        stateful_sets::cleared_pods_of_a_parallel_set_do_not_wait_for_uncleared_pods,
        stateful_sets::cleared_pods_of_an_ordered_set_do_not_wait_for_uncleared_pods,
        stateful_sets::a_held_pod_named_like_a_member_does_not_delay_the_set,
        stateful_sets::a_held_pod_below_a_partition_is_not_deleted_repeatedly,
        stateful_sets::i3_a_leader_worker_group_stops_and_starts_at_its_root,
        suspension::an_approved_job_waits_until_its_queue_admits_it,
        suspension::a_queued_job_that_lost_its_clearance_goes_back_to_its_queue,
        suspension::a_new_child_job_is_not_suspended_and_its_pods_are_held,
        suspension::a_job_that_its_user_also_suspends_stays_suspended,
        suspension::helm_waits_for_a_held_hook_until_its_timeout,
        retries::i3_pods_refused_for_an_untrusted_sidecar_run_soon_after_it_is_trusted,
        retries::the_operator_changes_only_metadata_of_a_workload_that_it_retries,
        modes::mode_warn_warns_the_creator_and_holds_nothing,
        modes::mode_enforce_stops_running_pods_gradually,
        modes::a_loosened_namespace_releases_its_pods,
        modes::loosening_needs_the_verb_ungovern,
        accelerators::scope_accelerated_governs_every_pod_with_an_accelerator,
        modes::scope_labelled_covers_only_pods_that_name_a_system,
        plugin::two_people_approve_the_version_that_they_are_shown,
        plugin::approve_needs_the_current_digest_a_confirmation_and_the_role,
        plugin::status_and_explain_name_the_missing_approvals,
        plugin::a_plain_manifest_approves_a_version,
        plugin::status_as_if_enforced_lists_the_pods_that_enforcing_stops,
        plugin::inventory_lists_ai_workloads_without_a_system,
        plugin::who_can_lists_the_roles_and_their_holders,
        plugin::history_lists_the_changes_of_a_system_in_order,
        plugin::status_expiring_lists_clearances_that_end_soon,
        plugin::status_watch_prints_every_change,
        plugin::the_krew_archive_matches_its_manifest,
        plugin::a_clearance_that_ends_soon_is_announced_and_can_be_renewed,
        plugin::approve_interactive_shows_each_pending_version,
        plugin::approve_interactive_can_reject_and_quit,
        plugin::tables_fit_a_terminal_of_80_columns,
        plugin::decommission_lists_what_stops_and_refuses_a_system_with_dependents,
        plugin::capture_reads_a_manifest_without_a_cluster,
        shapes::captured_versions_of_every_shape_clear_its_pods,
        shapes::one_version_with_placeholders_clears_the_pods_of_each_operator,
        shapes::version_with_a_forbidden_kind_of_volume_is_withheld,
        shapes::pods_with_other_volume_sources_or_names_are_held,
        capacity::messages_full_of_ampersands_do_not_stop_a_revocation,
        capacity::a_system_beyond_the_limit_replaces_no_cleared_system,
        capacity::a_flood_of_large_versions_replaces_no_cleared_version,
        capacity::a_status_that_cannot_be_written_blocks_no_other_status,
        capacity::the_operator_retries_a_refused_clearance_with_a_smaller_one,
        capacity::a_pod_of_the_last_of_many_large_versions_starts,
        capacity::a_pod_of_the_last_of_many_versions_with_placeholders_starts,
        capacity::a_milder_level_does_not_keep_uncleared_pods_running,
        check::check_agrees_with_the_api_server_about_every_example,
        check::check_agrees_with_the_api_server_about_generated_manifests,
        check::check_reports_each_pod_that_no_approval_would_let_run,
        check::check_refuses_unknown_fields_and_suggests_names,
        check::check_reads_a_thousand_manifests_in_seconds,
        plugin::completion_lists_commands_and_objects_of_the_cluster,
        plugin::capture_writes_a_version_that_matches_the_workload,
        plugin::capture_names_the_digest_that_the_nodes_report,
        plugin::capture_starts_from_the_newest_version_and_rolls_out_once,
        assessments::the_newest_signed_result_decides_until_its_maximum_age,
        assessments::a_recorded_result_is_final_and_not_from_the_future,
        assessments::only_a_person_in_the_role_makes_a_result_count,
        assessments::a_result_for_other_content_does_not_count,
        assessments::assess_records_a_file_once_and_refuses_an_ambiguous_one,
        requirements::a_version_runs_only_while_it_meets_the_expressions_of_its_level,
        requirements::an_invalid_expression_withholds_only_its_own_level,
        requirements::an_expression_reads_network_policies_and_storage_classes,
        requirements::an_expensive_expression_withholds_and_delays_no_other_namespace,
        requirements::the_api_server_refuses_too_many_and_too_long_expressions,
        systems::a_level_requires_risks_that_approvers_sign,
        systems::pods_stop_when_a_review_is_overdue,
        systems::a_hosted_model_needs_its_agreement_and_ends_with_its_retirement,
        systems::the_api_server_refuses_invalid_risks_and_hosted_models,
        signatures::the_signer_and_not_the_applier_is_the_approver,
        signatures::a_signature_is_valid_for_its_own_decision_only,
        signatures::a_key_counts_while_its_role_lists_it,
        signatures::an_owner_who_signs_does_not_count,
        signatures::a_signed_revocation_stays_when_its_key_leaves_the_role,
        signatures::an_approval_dated_in_the_future_is_refused_and_a_revocation_is_not,
        authors::the_author_of_a_version_cannot_approve_it,
        authors::the_last_author_of_a_system_cannot_approve_its_versions,
        authors::an_approver_who_schedules_the_end_of_a_system_still_counts,
        authors::nobody_forges_or_removes_the_author_of_an_object,
        authors::history_names_the_person_behind_a_changed_verdict_and_every_deletion,
        authors::a_change_of_the_risk_level_is_in_the_history,
        authors::nobody_edits_or_deletes_a_history,
        decisions::rejected_digest_stays_withheld_under_a_new_name,
        decisions::revoked_digest_stays_withheld_under_a_new_name,
        decisions::review_shows_the_nearest_rejected_version,
        decisions::review_names_content_that_can_change_after_the_approval,
        decisions::a_rejection_or_revocation_is_one_event_on_version_and_system,
        decisions::a_held_event_states_the_current_cause,
        decisions::an_equal_event_after_a_minute_is_counted_in_a_series,
        decisions::decided_content_stays_after_its_objects_are_deleted_and_replaced,
        decisions::a_replaced_impact_assessment_withholds_until_it_is_approved_again,
        refusals::dev_cannot_remove_the_gate,
        refusals::a_cluster_admin_cannot_remove_the_gate,
        refusals::a_pod_with_a_node_name_is_refused,
        refusals::dev_cannot_remove_a_gate_that_dev_set,
        refusals::only_the_release_field_manager_lifts_a_gate,
        refusals::dev_cannot_change_the_image_of_a_running_pod,
        refusals::dev_cannot_add_an_ephemeral_container,
        refusals::dev_cannot_relabel_a_pod,
        refusals::dev_cannot_relabel_a_pod_through_its_status,
        refusals::a_pod_without_a_known_system_is_held,
        refusals::a_pod_with_other_args_is_held,
        refusals::a_pod_with_another_command_is_held,
        refusals::a_pod_with_another_env_value_is_held,
        refusals::a_pod_with_an_extra_env_from_is_held,
        refusals::a_pod_with_an_extra_init_container_is_held,
        refusals::a_pod_with_an_extra_container_is_held,
        refusals::a_pod_with_a_changed_init_container_is_held,
        refusals::a_pod_with_another_image_volume_is_held,
        refusals::a_pod_with_a_config_map_over_its_entry_point_is_held,
        refusals::a_pod_with_an_extra_hook_is_held,
        refusals::a_pod_with_host_aliases_is_held,
        refusals::an_image_tag_neither_runs_nor_is_approved,
        fields::fields_that_replace_files_or_names_hold_an_approved_pod,
        fields::a_volume_that_imitates_the_service_account_token_holds_a_pod,
        fields::free_fields_do_not_hold_a_pod,
        fields::changed_items_hooks_or_shared_namespaces_hold_a_pod,
        fields::nobody_adds_runtime_annotations_to_a_running_pod,
        refusals::dev_cannot_write_a_clearance,
        refusals::dev_cannot_write_a_status,
        refusals::dev_cannot_lower_the_risk_level,
        refusals::a_changed_purpose_ends_every_approval,
        refusals::a_system_that_is_changed_and_changed_back_stays_revoked,
        refusals::dev_cannot_edit_an_approved_model_version,
        refusals::a_recreated_version_is_approved_only_with_the_same_content,
        refusals::dev_cannot_approve_without_the_role,
        refusals::an_owner_who_holds_the_role_does_not_count,
        refusals::nobody_writes_an_approval_as_another_person,
        refusals::an_approval_is_neither_edited_nor_deleted,
        refusals::namespace_deletion_also_deletes_the_approvals,
        refusals::dev_cannot_take_a_namespace_out_of_governance,
        refusals::a_new_job_is_held,
        refusals::a_new_job_of_a_cron_job_is_held,
        refusals::a_new_bare_pod_is_held,
        refusals::the_pods_of_a_new_stateful_set_are_held,
        refusals::the_pods_of_a_new_daemon_set_are_held,
        refusals::a_service_account_cannot_approve,
        refusals::a_stale_operator_cannot_lift_a_gate_after_the_revocation,
        refusals::an_approval_of_an_outdated_digest_does_not_count,
        refusals::two_approvals_by_one_person_count_once,
        refusals::nobody_approves_in_a_role_that_they_do_not_hold,
        refusals::one_person_in_two_roles_fills_one,
        refusals::a_risk_level_in_use_cannot_be_deleted,
        grace::the_grace_of_a_pod_is_cut_to_half_of_its_level,
        grace::the_grace_of_a_probe_is_bounded,
        grace::nobody_deletes_or_evicts_with_more_grace_than_the_level_allows,
        grace::a_held_pod_with_too_long_a_grace_is_reported_and_not_released,
        grace::scaling_draining_and_deletion_with_the_grace_of_the_pod_are_not_blocked,
        deadman::a_renewal_replaces_pods_within_their_budget,
        deadman::pods_get_an_earlier_end_at_once,
        warnings::a_system_change_warns_how_many_pods_it_stops,
        warnings::a_risk_level_change_warns_how_many_systems_and_pods_it_affects,
        warnings::a_workload_change_warns_that_its_pods_will_be_held,
        workloads::a_held_pod_is_resized_in_place,
        plugin::an_exec_credential_program_receives_the_cluster_info,
        signatures::a_result_counts_while_the_role_lists_the_key_that_signed_it,
        signatures::a_level_can_require_certifications_that_a_person_signed,
        signatures::check_counts_a_signature_and_not_a_name_in_a_file,
        signatures::a_signed_review_of_an_incident_counts_whoever_applies_it,
        opentelemetry::an_instrumented_pod_runs_once_its_version_lets_the_added_variables_vary,
        sidecars::a_pod_with_a_trusted_injected_sidecar_runs,
        sidecars::a_pod_with_an_untrusted_injected_sidecar_does_not_run,
        sidecars::a_pod_with_a_modified_sidecar_is_held,
        sidecars::a_trusted_sidecar_needs_permission_and_an_exact_image,
        bad_input::an_unknown_risk_level_is_a_condition,
        bad_input::a_missing_system_is_a_condition,
        bad_input::a_system_that_succeeds_itself_is_refused,
        bad_input::systems_that_succeed_each_other_are_not_ready,
        bad_input::an_invalid_validity_is_refused,
        bad_input::an_approval_cannot_end_in_the_past_but_a_system_can,
        bad_input::a_list_of_invalid_length_is_refused,
        bad_input::an_invalid_digest_is_refused,
        bad_input::names_are_ascii_and_texts_may_be_unicode,
        bad_input::an_oversized_manifest_is_refused_and_an_oversized_version_is_withheld,
        bad_input::a_prohibited_level_clears_nothing,
        bad_input::missing_documents_are_all_named,
        pod_api::a_binding_changes_no_guarded_field,
        pod_api::a_held_pod_is_released_with_any_managed_fields,
        pod_api::the_field_manager_of_the_release_blocks_no_other_request,
        pod_api::nobody_writes_the_annotations_of_assent_on_a_pod,
        pod_api::no_verb_of_the_pod_api_changes_a_guarded_field,
        faults::explain_reports_a_quota_full_of_held_pods,
        hostile::many_unreadable_objects_do_not_delay_a_revocation,
        chart::the_chart_passes_helm_lint,
        chart::the_pod_of_the_operator_is_restricted,
        chart::the_api_server_accepts_every_manifest,
        chart::bad_values_are_refused,
        chart::older_clusters_get_no_mutating_policy,
        chart::the_operator_has_no_unneeded_permissions,
        chart::editors_can_describe_but_not_decide,
    ];
    // The trials of `own!` take longest, so they start first. The short trials at the end keep all threads busy.
    own(stage)
        .into_iter()
        .chain(on_nodes(stage))
        .chain(of_incidents_overrides_and_monitors(stage))
        .chain(of_tags(stage))
        .chain(shared)
        .collect()
}

fn of_tags(stage: &Arc<Stage>) -> impl IntoIterator<Item = Trial> + use<> {
    shared![
        stage,
        tags::every_image_of_a_new_pod_gets_the_approved_digest,
        tags::i3_held_pods_get_their_digests_when_they_are_released,
        tags::a_tag_never_runs_what_nobody_approved_for_its_system,
        tags::the_newest_version_with_a_tag_counts,
        tags::a_webhook_that_rewrites_images_admits_nothing_unapproved,
        tags::i3_held_pods_with_a_volume_by_tag_are_replaced,
        tags::running_pods_by_tag_stop_when_their_namespace_enforces,
        tags::i3_a_scaled_down_workload_starts_with_a_new_digest_of_its_tag,
    ]
}

fn of_incidents_overrides_and_monitors(stage: &Arc<Stage>) -> impl IntoIterator<Item = Trial> + use<> {
    shared![
        stage,
        incidents::a_held_system_stops_until_people_resume_it,
        incidents::the_opener_and_the_author_of_the_action_cannot_resume_alone,
        incidents::held_content_stays_held_under_a_new_name,
        incidents::a_rollback_keeps_only_the_cleared_version,
        incidents::an_incident_and_its_notes_are_final,
        incidents::an_incident_names_its_opener_and_possible_times,
        incidents::only_an_account_with_the_verb_hold_holds_a_system,
        overrides::overridden_version_runs_until_its_end_and_asks_for_its_review,
        overrides::objections_and_holds_are_stronger_than_an_override,
        overrides::quota_and_maximum_of_the_level_limit_overrides,
        overrides::override_is_final_and_has_a_hard_ceiling,
        overrides::missed_review_holds_the_system_until_somebody_else_reviews,
        overrides::override_of_changed_content_or_a_tightened_level_ends,
        escalation::an_unacknowledged_incident_escalates_and_then_holds_until_somebody_acknowledges_it,
        escalation::a_missed_review_holds_until_somebody_else_reviews,
        escalation::only_people_with_the_verbs_handle_an_incident,
        escalation::a_closed_incident_still_holds_and_a_missed_deadline_is_told,
        escalation::evidence_of_an_open_incident_stays,
        escalation::a_flood_of_incidents_stops_nothing_and_hides_no_hold,
        monitors::a_drifting_metric_holds_the_system_until_people_resume_it,
        monitors::a_breach_opens_an_incident_unless_an_earlier_one_still_counts,
        monitors::a_value_that_is_not_one_number_is_unknown,
        monitors::a_monitor_reads_only_its_own_namespace,
        monitors::only_an_account_with_the_verb_hold_writes_a_monitor_that_holds,
        monitors::a_level_withholds_versions_until_its_monitors_measure,
        monitors::the_example_monitors_are_accepted_and_measured,
        monitor_attacks::a_flood_of_monitors_delays_no_other_namespace,
        monitor_attacks::other_series_and_missing_values_do_not_end_or_hide_a_breach,
        monitor_attacks::a_value_that_flaps_opens_one_incident_or_none,
    ]
}

fn on_nodes(stage: &Arc<Stage>) -> impl IntoIterator<Item = Trial> + use<> {
    let skip = Node::unavailable();
    on_node![
        stage,
        &skip,
        node::i1_i2_i3_containers_start_and_end_with_the_clearance(node),
        node::i2_a_revocation_during_a_rollout_stops_the_old_containers_in_time(node),
        node::i2_a_deletion_just_before_a_revocation_does_not_delay_the_stop(node),
        node::a_deletion_in_progress_is_not_shortened_and_its_cause_is_reported(node),
        node::i2_a_grace_that_overflows_is_refused(node),
        node::a_pod_with_a_field_that_replaces_image_files_is_held(node),
        node::a_running_pod_is_resized_in_place(node),
        node::i2_i3_a_workload_stopped_as_a_whole_ends_and_starts_its_containers(node),
        node::an_image_volume_has_the_approved_content(node),
        node::capture_names_the_digest_that_a_kubelet_reports(node),
        node::a_pod_by_tag_runs_only_the_approved_digest(node),
        node::i2_the_kubelet_alone_ends_expired_pods,
        node::i2_an_event_names_a_kubelet_that_confirms_nothing,
    ]
}

fn own(stage: &Arc<Stage>) -> impl IntoIterator<Item = Trial> + use<> {
    own![
        stage,
        // The tests of Flux and Argo CD take long and slow each other down, so they are spread over the list.
        argocd::health_follows_the_decisions_without_flapping,
        deadman::i2_without_an_operator_the_nodes_end_expired_pods(lend),
        assessments::i1_without_an_operator_a_result_at_its_maximum_age_starts_nothing(lend),
        modes::mode_audit_writes_to_the_audit_log_and_warns_nobody,
        argocd::self_heal_does_not_conflict_with_enforcement,
        playground::a_playground_outlives_its_shell_until_it_is_stopped,
        outage::i5_without_an_operator_only_cleared_pods_start(lend),
        alerting::an_unacknowledged_incident_and_a_breach_reach_their_receivers,
        outage::i1_an_operator_that_missed_an_expiry_releases_nothing(lend),
        monitors::a_restart_continues_the_time_of_a_breach_and_an_outage_of_prometheus_changes_nothing(lend),
        argocd::a_later_sync_wave_waits_for_the_approval,
        argocd::a_hook_waits_for_the_approval,
        outage::i2_a_restarted_operator_stops_pods_that_lost_their_clearance_meanwhile(lend),
        outage::the_operator_reconnects_to_a_restarted_api_server(lend),
        outage::a_restarted_api_server_refuses_governed_pods_for_at_most_half_a_minute(lend),
        accelerators::chart_values_add_accelerators_for_policies_operator_and_plugin,
        injected::i5_an_approved_pod_with_an_injected_container_starts_without_an_operator(lend),
        argocd::an_application_repository_cannot_add_systems_and_argocd_cannot_approve,
        outage::one_operator_leads_and_hands_over_on_termination(lend),
        outage::i2_a_standby_takes_over_within_the_lease_and_stops_uncleared_pods(lend),
        argocd::argocd_installs_assent_without_drift,
        outage::a_standby_fills_its_cache_and_writes_nothing_until_it_leads(lend),
        outage::i1_a_leader_paused_past_its_lease_releases_nothing_and_exits(lend),
        argocd::one_signature_clears_a_version_in_every_cluster,
        outage::operators_with_clocks_a_minute_apart_elect_one_leader(lend),
        outage::a_rolling_upgrade_loses_no_decision(lend),
        flux::health_follows_the_decisions_without_flapping,
        outage::health_and_metrics_are_served(lend),
        upgrade::an_upgrade_and_a_rollback_disturb_no_workload,
        flux::drift_correction_and_scale_down_do_not_conflict,
        upgrade::a_second_api_version_changes_no_decision,
        chart::plain_manifests_enable_the_policies,
        flux::flux_does_not_revert_a_decision_by_kubectl,
        flux::results_in_git_decide_without_conflicts,
        faults::a_lost_node_is_reported_and_its_pods_are_not_force_deleted(lend),
        faults::an_endless_finalizer_is_reported_and_delays_no_other_pod(lend),
        flux::an_application_repository_cannot_change_governance,
        faults::the_operator_does_not_write_to_a_namespace_being_deleted(lend),
        hostile::unreadable_objects_of_any_kind_affect_only_themselves,
        floods::a_flood_in_one_namespace_does_not_delay_another(lend),
        hostile::a_leader_with_a_broken_watch_is_not_ready_and_names_the_watch(lend),
        faults::the_operator_backs_off_on_429_and_then_catches_up(lend),
        flux::flux_installs_assent_without_drift,
        faults::delayed_stops_and_events_follow_a_busy_api_server_without_a_request_storm(lend),
        faults::i2_expired_pods_stop_by_half_of_their_grace_without_a_new_clearance(lend),
        flux::one_signature_clears_a_version_in_every_cluster,
        chaos::two_seeds_of_the_chaos_test_pass,
        outage::i2_a_disruption_budget_delays_a_stop_only_within_the_grace(lend),
        workloads::i3_a_restarted_operator_scales_a_deployment_up_again(lend),
        retries::i3_pods_refused_while_the_operator_was_down_are_held_soon_after(lend),
        refuse::i1_i3_refused_workloads_get_a_reason_and_run_soon_after_the_approval,
        refuse::nobody_names_another_person_as_the_approver,
        tags::before_mutating_policies_a_pod_by_tag_is_refused_with_the_command_that_pins,
        tags::i5_pods_by_tag_start_without_an_operator_but_not_without_the_policy_that_pins,
        refuse::a_gate_set_by_hand_is_lifted_and_deleted_policies_are_restored,
        guard::i1_a_pod_created_without_policies_is_stopped,
        guard::deleted_policies_are_back_within_a_second(lend),
        guard::edited_policies_are_restored_within_a_second(lend),
        guard::an_upgrade_after_a_restore_has_no_conflict_and_is_not_reverted,
        guard::the_operator_does_not_restore_after_an_uninstall_and_held_pods_can_be_released,
        guard::a_release_in_another_namespace_adopts_definitions_and_decisions,
        guard::restored_policies_are_deleted_with_their_release_in_any_order,
        authors::a_new_operator_adds_missed_changes_to_the_history(lend),
        decisions::decisions_stay_immutable_when_an_admin_edits_their_definition,
        guard::i1_a_forged_or_deleted_clearance_is_restored(lend),
    ]
}
