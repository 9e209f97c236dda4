//! Assent on a real control plane, as its users would try it: every promise, every refusal, every outage.
//! `i1` to `i5` in a name are the promises in the order of `docs/concepts.md`.
//!
//! One control plane is shared by the tests that each have a namespace of their own; the tests that stop the
//! operator, or the API server, start their own.

mod accelerators;
mod argocd;
mod assistant;
mod authors;
mod bad_input;
mod capacity;
mod chaos;
mod chart;
mod check;
mod deadman;
mod decisions;
mod faults;
mod fields;
mod floods;
mod flux;
mod grace;
mod guard;
mod hostile;
mod injected;
mod lifecycle;
mod modes;
mod node;
mod opentelemetry;
mod outage;
mod plugin;
mod pod_api;
mod refusals;
mod refuse;
mod retries;
mod scale_down;
mod sidecars;
mod signatures;
mod stateful_sets;
mod suspension;
mod upgrade;
mod warnings;
mod workloads;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Node};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// A trial on the shared control plane for each function named.
macro_rules! shared {
    ($stage:expr, $($module:ident :: $test:ident),* $(,)?) => { [$({
        let stage = std::sync::Arc::clone($stage);
        libtest_mimic::Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
            let cluster = stage.cluster.as_ref().ok_or("no control plane")?;
            stage.runtime.block_on($module::$test(cluster)).map_err(|error| format!("{error:#}").into())
        })
    }),*] };
}

/// A trial with a control plane of its own for each function named.
macro_rules! own {
    ($stage:expr, $($module:ident :: $test:ident),* $(,)?) => { [$({
        let stage = std::sync::Arc::clone($stage);
        libtest_mimic::Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
            stage.runtime.block_on($module::$test()).map_err(|error| format!("{error:#}").into())
        })
    }),*] };
}

/// A trial that needs a real node, for each function named: a control plane of its own, or, with `&node`, the
/// shared one and a node that is started when the first of them runs. Where no node can run, it is skipped.
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
    (@run $stage:ident, $test:path) => { $test().await };
    (@run $stage:ident, $test:path, $node:ident) => {{
        let cluster = $stage.cluster.as_ref().ok_or_else(|| anyhow::anyhow!("no control plane"))?;
        let $node = $stage.node.get_or_try_init(|| Node::start(cluster)).await?;
        $test(cluster, $node).await
    }};
}

/// What the trials share.
struct Stage {
    runtime: Runtime,
    /// Before the control plane, and so dropped before it.
    node: OnceCell<Node>,
    cluster: Option<ControlPlane>,
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // Each trial runs dozens of programs; more at a time only wait for each other, and run out of patience.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let runtime = Runtime::new()?;
    if arguments.list {
        let stage = Stage { runtime, node: OnceCell::new(), cluster: None };
        return Ok(libtest_mimic::run(&arguments, trials(&Arc::new(stage))).exit_code());
    }
    let begin = Instant::now();
    let cluster = runtime.block_on(ControlPlane::start())?;
    let assent = Arc::new(runtime.block_on(Assent::install(&cluster))?);
    let _restarts = runtime.spawn(restart_as_a_kubelet_does(Arc::clone(&assent)));
    eprintln!("Assent governs after {:.1?}", begin.elapsed());
    let stage = Arc::new(Stage { runtime, node: OnceCell::new(), cluster: Some(cluster) });
    let conclusion = libtest_mimic::run(&arguments, trials(&stage));
    if conclusion.has_failed() {
        eprintln!("What the operator complained of:\n{}", complaints(assent.operator().log())?);
    }
    let log = std::fs::read_to_string(assent.operator().log())?;
    ensure!(!log.contains("panicked at"), "the operator panicked: {}", complaints(assent.operator().log())?);
    Ok(conclusion.exit_code())
}

/// The operator of the shared control plane ends when it loses its lease, as on a machine that stood still.
async fn restart_as_a_kubelet_does(assent: Arc<Assent>) -> Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !assent.operator().is_running() {
            eprintln!("the operator has ended, and is started again");
            assent.operator().restart()?;
        }
    }
}

/// The last warnings and errors of a log.
fn complaints(log: &Path) -> Result<String> {
    let log = std::fs::read_to_string(log)?;
    let complaint = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    let mut last: Vec<_> = log.lines().rev().filter(complaint).take(10).collect();
    last.reverse();
    Ok(last.join("\n"))
}

#[allow(clippy::too_many_lines, reason = "one line for each test")]
fn trials(stage: &Arc<Stage>) -> Vec<Trial> {
    let shared = shared![
        stage,
        lifecycle::i1_an_unapproved_pod_is_held_and_says_whose_approval_is_missing,
        lifecycle::i1_an_approved_pod_runs,
        lifecycle::i2_a_revocation_stops_what_runs_and_holds_its_replacements,
        lifecycle::i3_what_comes_back_has_what_it_had,
        lifecycle::i4_every_decision_and_every_enforcement_is_recorded,
        lifecycle::i2_an_expiry_stops_what_runs_on_its_second,
        lifecycle::i2_a_decommissioned_system_stops_for_good,
        lifecycle::a_namespace_that_is_taken_out_lets_its_pods_go,
        lifecycle::a_new_version_waits_while_the_old_one_runs,
        lifecycle::a_system_with_many_large_versions_still_starts,
        lifecycle::a_custom_resource_is_told_what_becomes_of_its_pods,
        workloads::a_new_job_is_suspended_until_it_is_approved,
        workloads::i3_a_running_job_is_suspended_and_resumed_and_nothing_counts_as_failed,
        workloads::completed_work_of_a_job_is_not_run_again,
        workloads::what_its_user_suspended_stays_suspended,
        workloads::a_cron_job_makes_no_jobs_until_it_is_approved,
        workloads::dev_resumes_a_job_that_assent_suspended,
        workloads::a_namespace_that_is_taken_out_resumes_its_jobs,
        workloads::i3_a_stateful_set_stops_from_the_last_and_starts_from_the_first,
        workloads::a_stateful_set_that_is_rolled_back_does_not_hang,
        workloads::each_pod_of_a_stateful_set_with_claims_needs_its_own_version,
        workloads::a_daemon_set_is_stopped_and_its_rollout_is_not_stuck,
        workloads::a_bare_pod_that_is_stopped_can_be_made_again,
        workloads::a_replica_set_is_stopped_and_comes_back,
        workloads::i3_scale_down_scales_to_zero_and_back,
        workloads::whoever_keeps_scaling_up_is_not_fought_for_ever,
        workloads::audit_records_a_loss_and_stops_nothing,
        workloads::an_unknown_kind_is_scaled_down_at_its_root,
        workloads::an_unknown_kind_is_suspended_at_its_root,
        workloads::a_deployment_of_a_level_that_suspends_is_evicted,
        scale_down::i3_another_cleared_version_does_not_start_what_lost_its_own,
        scale_down::what_is_changed_to_a_cleared_version_while_it_is_stopped_starts,
        scale_down::what_is_scaled_down_starts_though_its_field_managers_were_reset,
        scale_down::a_rollout_to_a_cleared_version_keeps_the_pods_that_have_it,
        scale_down::an_unknown_kind_stays_suspended_while_its_own_version_is_not_cleared,
        stateful_sets::what_is_cleared_in_a_parallel_set_does_not_wait_for_what_is_not,
        stateful_sets::what_is_cleared_in_an_ordered_set_does_not_wait_for_what_is_not,
        stateful_sets::a_held_pod_with_the_name_of_a_member_delays_nobody,
        stateful_sets::a_held_pod_below_a_partition_is_not_deleted_again_and_again,
        stateful_sets::i3_a_group_of_leader_and_workers_stops_and_comes_back_at_its_root,
        suspension::an_approved_job_waits_until_its_queue_admits_it,
        suspension::a_queued_job_that_lost_its_clearance_goes_back_to_its_queue,
        suspension::a_child_job_is_suspended_by_its_parent_and_not_by_assent,
        suspension::what_its_user_suspends_while_assent_does_stays_suspended,
        suspension::helm_waits_for_a_held_hook_until_its_timeout,
        retries::i3_what_was_refused_for_a_late_sidecar_runs_soon_after_it_is_trusted,
        retries::the_operator_changes_nothing_but_metadata_of_what_it_retries,
        modes::warn_tells_whoever_creates_and_holds_nothing,
        modes::enforce_stops_what_runs_gradually,
        modes::what_is_loosened_lets_its_pods_go,
        modes::loosening_needs_the_verb_ungovern,
        accelerators::accelerated_takes_in_whatever_uses_an_accelerator,
        modes::labelled_takes_in_what_names_a_system_and_nothing_else,
        plugin::two_people_approve_what_they_are_shown,
        plugin::what_is_not_what_was_read_is_not_signed,
        plugin::status_and_explain_say_who_must_do_what,
        plugin::a_plain_manifest_approves_too,
        plugin::status_says_what_would_stop_before_anybody_enforces,
        plugin::inventory_lists_what_nobody_answers_for,
        plugin::who_can_names_the_roles_and_those_who_hold_them,
        plugin::history_tells_the_life_of_a_system_in_order,
        plugin::status_lists_what_loses_its_clearance_soon,
        plugin::status_watches,
        plugin::what_is_packed_for_krew_is_what_its_manifest_says,
        plugin::what_ends_soon_is_said_and_renewed,
        plugin::a_person_walks_through_what_waits_for_them,
        plugin::a_person_rejects_and_quits_in_the_inbox,
        plugin::a_status_and_a_review_fit_a_terminal_of_80_columns,
        plugin::decommission_shows_what_stops_and_asks_who_needs_it,
        plugin::capture_reads_a_manifest_without_a_cluster,
        capacity::messages_full_of_ampersands_do_not_stop_a_revocation,
        capacity::a_system_beyond_the_limit_pushes_out_nobody,
        capacity::a_flood_of_large_versions_pushes_out_nobody,
        capacity::a_status_that_cannot_be_written_blocks_no_other,
        capacity::a_refused_clearance_is_replaced_by_a_smaller_one,
        capacity::a_pod_of_the_last_of_many_large_versions_starts,
        capacity::a_milder_level_does_not_keep_running_what_lost_its_clearance,
        check::check_agrees_with_the_api_server_about_every_example,
        check::check_agrees_with_the_api_server_about_what_is_generated,
        check::check_says_what_no_approval_would_let_run,
        check::check_is_strict_and_says_what_was_meant,
        check::a_thousand_manifests_are_checked_at_once,
        plugin::completion_knows_commands_and_what_the_cluster_has,
        plugin::capture_writes_the_version_that_matches,
        plugin::capture_names_the_digest_that_the_nodes_report,
        plugin::capture_starts_from_the_newest_version_and_rolls_out_once,
        signatures::the_signer_and_not_the_applier_is_the_approver,
        signatures::a_signature_is_not_used_for_anything_else,
        signatures::a_key_counts_while_its_role_lists_it,
        signatures::an_owner_who_signs_does_not_count,
        signatures::a_signed_revocation_stays_when_its_key_leaves_the_role,
        signatures::an_approval_dated_ahead_is_refused_and_an_objection_is_not,
        authors::who_created_the_version_does_not_approve_it,
        authors::who_last_changed_the_system_does_not_approve_it,
        authors::who_schedules_the_end_of_a_system_still_counts,
        authors::nobody_forges_or_removes_who_wrote_an_object,
        authors::history_names_who_altered_a_verdict_and_every_deletion,
        authors::a_change_of_the_risk_level_is_in_the_history,
        authors::nobody_edits_or_deletes_a_history,
        decisions::rejected_digest_stays_withheld_under_a_new_name,
        decisions::revoked_digest_stays_withheld_under_a_new_name,
        decisions::review_shows_the_nearest_rejected_version,
        decisions::review_names_content_that_can_change_after_the_approval,
        decisions::a_rejection_and_a_revocation_are_announced_once_on_version_and_system,
        decisions::decided_content_stays_after_its_objects_are_deleted_and_replaced,
        decisions::a_replaced_impact_assessment_withholds_until_it_is_approved_again,
        refusals::dev_removes_the_gate,
        refusals::cluster_admin_removes_the_gate,
        refusals::dev_creates_a_pod_with_a_node_name,
        refusals::dev_presets_the_gate_and_patches_it_away,
        refusals::dev_claims_to_be_the_releasing_field_manager,
        refusals::dev_swaps_an_image_on_a_live_pod,
        refusals::dev_adds_an_ephemeral_container,
        refusals::dev_relabels_a_pod,
        refusals::dev_relabels_a_pod_by_way_of_its_status,
        refusals::dev_leaves_the_label_off,
        refusals::dev_changes_args,
        refusals::dev_changes_the_command,
        refusals::dev_changes_env,
        refusals::dev_adds_env_from,
        refusals::dev_adds_an_init_container,
        refusals::dev_adds_a_container,
        refusals::dev_changes_an_init_container,
        refusals::dev_changes_an_image_volume,
        refusals::dev_mounts_a_config_map_over_the_entry_point,
        refusals::dev_runs_a_hook_in_the_container,
        refusals::dev_points_the_model_hub_elsewhere,
        refusals::dev_uses_a_tag_that_moved,
        fields::fields_that_replace_files_or_names_hold_an_approved_pod,
        fields::what_passes_for_the_token_of_the_service_account_holds_a_pod,
        fields::what_is_free_does_not_hold_a_pod,
        fields::items_hooks_and_shared_namespaces_run_as_approved_and_not_otherwise,
        fields::annotations_that_runtimes_read_are_not_added_to_a_running_pod,
        refusals::dev_edits_or_creates_a_clearance,
        refusals::dev_writes_a_status,
        refusals::dev_lowers_the_risk_level,
        refusals::dev_changes_the_purpose,
        refusals::dev_undoes_a_revocation_by_changing_and_changing_back,
        refusals::dev_edits_an_approved_model_version,
        refusals::dev_recreates_an_approved_model_version,
        refusals::dev_approves_his_own_system,
        refusals::an_owner_who_holds_the_role_does_not_count,
        refusals::dev_writes_an_approval_as_somebody_else,
        refusals::dev_edits_or_deletes_an_approval,
        refusals::namespace_deletion_takes_the_approvals_along,
        refusals::dev_takes_the_labels_off_the_namespace,
        refusals::dev_makes_a_job,
        refusals::dev_makes_a_cron_job,
        refusals::dev_makes_a_bare_pod,
        refusals::dev_makes_a_stateful_set,
        refusals::dev_makes_a_daemon_set,
        refusals::gitops_service_account_approves,
        refusals::a_stale_operator_lifts_a_gate_after_the_revocation,
        refusals::an_approver_approves_an_outdated_digest,
        refusals::an_approver_approves_twice_to_count_as_two,
        refusals::an_approver_approves_in_a_role_she_does_not_hold,
        refusals::one_person_in_two_roles_fills_one,
        refusals::a_tired_admin_deletes_a_risk_level_in_use,
        grace::the_own_grace_of_a_pod_is_cut_to_half_of_that_of_its_level,
        grace::the_grace_of_a_probe_is_bounded_too,
        grace::nobody_deletes_or_evicts_with_a_longer_grace_than_the_level_leaves,
        grace::a_held_pod_that_takes_too_long_to_end_is_told_of_and_not_released,
        grace::what_deletes_pods_with_their_own_grace_is_not_blocked,
        deadman::a_renewal_replaces_pods_within_their_budget,
        deadman::an_earlier_end_is_carried_at_once,
        warnings::a_change_of_a_system_says_how_many_pods_it_stops,
        warnings::a_change_of_a_risk_level_says_how_many_systems_and_pods_it_concerns,
        warnings::a_workload_that_will_be_held_is_said_to_be,
        workloads::a_held_pod_is_resized_in_place,
        plugin::credentials_of_a_program_that_wants_to_know_the_cluster,
        signatures::check_counts_a_signature_and_no_name_in_a_file,
        opentelemetry::an_instrumented_pod_runs_once_its_version_lets_the_added_variables_vary,
        sidecars::a_webhook_that_injects_what_is_trusted,
        sidecars::a_webhook_that_injects_what_is_not,
        sidecars::dev_passes_something_off_as_a_sidecar,
        sidecars::who_may_trust_and_what,
        bad_input::an_unknown_risk_level,
        bad_input::a_missing_system,
        bad_input::a_system_that_succeeds_itself,
        bad_input::systems_that_succeed_each_other,
        bad_input::a_validity_of_zero,
        bad_input::a_date_in_the_past,
        bad_input::an_over_long_list,
        bad_input::a_digest_that_is_not_one,
        bad_input::unicode_names,
        bad_input::a_manifest_of_a_mebibyte,
        bad_input::a_prohibited_level,
        bad_input::missing_documents_are_all_named,
        pod_api::a_binding_changes_nothing_that_assent_guards,
        pod_api::a_held_pod_is_released_whatever_became_of_its_managed_fields,
        pod_api::the_name_of_the_release_manager_blocks_nothing,
        pod_api::nobody_writes_the_records_of_assent_on_a_pod,
        pod_api::no_verb_of_the_pod_api_changes_what_assent_guards,
        faults::a_quota_full_of_held_pods_is_told_of_and_ends,
        hostile::many_unreadable_objects_delay_nobody,
        chart::lint,
        chart::the_pod_is_locked_down,
        chart::the_api_server_takes_all_of_it,
        chart::bad_values_are_refused,
        chart::where_pods_cannot_be_gated_nothing_mutates,
        chart::the_operator_may_do_no_more_than_it_must,
        chart::editors_may_describe_and_not_decide,
    ];
    shared.into_iter().chain(own(stage)).chain(on_nodes(stage)).collect()
}

fn on_nodes(stage: &Arc<Stage>) -> impl IntoIterator<Item = Trial> + use<> {
    let skip = Node::unavailable();
    on_node![
        stage,
        &skip,
        node::i1_i2_i3_containers_start_and_end_with_the_clearance(node),
        node::i2_a_revocation_during_a_rollout_stops_the_old_containers_in_time(node),
        node::i2_a_deletion_just_before_a_revocation_delays_nothing(node),
        node::a_stop_that_has_begun_is_not_shortened_and_whoever_fixed_its_end_is_told_of(node),
        node::i2_a_grace_that_overflows_is_refused(node),
        node::fields_that_replace_files_of_an_image_hold_a_pod(node),
        node::a_running_pod_is_resized_in_place(node),
        node::i2_i3_a_workload_stopped_as_a_whole_ends_and_starts_its_containers(node),
        node::an_image_volume_has_the_approved_content(node),
        node::capture_names_the_digest_that_a_kubelet_reports(node),
        node::i2_the_kubelet_ends_what_runs_out_when_nobody_else_is_left,
        node::i2_a_kubelet_that_confirms_nothing_is_named,
    ]
}

fn own(stage: &Arc<Stage>) -> impl IntoIterator<Item = Trial> + use<> {
    own![
        stage,
        // Flux and Argo CD take long and wait for each other, so they are spread.
        argocd::health_follows_the_life_of_a_system_and_nothing_flaps,
        deadman::i2_without_an_operator_the_nodes_end_what_runs_out,
        modes::audit_notes_it_in_the_audit_log_and_tells_nobody,
        argocd::self_heal_does_not_fight,
        outage::i5_without_an_operator_cleared_pods_start_and_uncleared_do_not,
        outage::i1_an_operator_that_overslept_an_expiry_releases_nothing,
        argocd::a_wave_waits_for_the_approval,
        argocd::a_hook_waits_for_the_approval,
        outage::i2_what_was_lost_while_the_operator_was_down_stops_when_it_is_back,
        outage::a_restarted_api_server_is_found_again,
        outage::a_restarted_api_server_refuses_governed_pods_for_half_a_minute_at_most,
        accelerators::values_add_accelerators_for_policies_operator_and_plugin_alike,
        injected::i5_an_approved_pod_that_is_completed_while_it_is_created_needs_no_operator,
        argocd::an_application_repository_brings_no_more_than_its_project_lets_it,
        outage::one_operator_leads_and_hands_over_when_it_is_told_to_stop,
        outage::i2_a_standby_takes_over_within_the_lease_and_stops_what_was_lost_meanwhile,
        argocd::it_installs_assent_and_leaves_it_alone,
        outage::a_standby_knows_the_pods_and_does_nothing_until_it_leads,
        outage::i1_a_leader_that_was_paused_past_its_lease_releases_nothing_and_stands_back,
        argocd::one_signature_clears_a_version_in_every_cluster,
        outage::operators_whose_clocks_differ_by_a_minute_agree_who_leads,
        outage::a_rolling_upgrade_loses_nothing,
        flux::health_follows_the_life_of_a_system_and_nothing_flaps,
        outage::health_and_metrics_are_served,
        upgrade::from_the_previous_release_and_back_with_workloads_running,
        flux::drift_correction_and_scale_down_do_not_fight,
        upgrade::one_more_version_of_the_definitions_changes_no_decision,
        chart::plain_manifests_put_all_in_force,
        flux::what_people_decide_with_kubectl_stays,
        faults::a_node_that_is_gone_is_told_of_and_nothing_on_it_is_forgotten,
        faults::a_finalizer_that_never_ends_is_named_and_holds_up_nothing,
        flux::an_application_repository_brings_no_more_than_it_may,
        faults::a_namespace_being_deleted_is_left_to_go,
        hostile::unreadable_objects_of_any_kind_affect_only_themselves,
        floods::a_flood_in_one_namespace_delays_no_other,
        hostile::a_leader_that_cannot_see_is_not_ready_and_says_what_it_cannot_see,
        faults::an_api_server_that_answers_429_for_a_minute_is_asked_little_and_misses_nothing,
        flux::it_installs_assent_and_leaves_it_alone,
        faults::a_busy_moment_is_no_storm_and_what_was_to_be_done_and_said_in_it_is_after_it,
        faults::i2_what_ran_out_is_stopped_once_others_can_be_held_and_at_half_of_its_grace_at_the_latest,
        flux::one_signature_clears_a_version_in_every_cluster,
        chaos::a_few_seeds,
        outage::i2_a_tight_disruption_budget_delays_a_stop_but_not_beyond_the_grace,
        workloads::i3_what_was_scaled_down_comes_back_though_the_operator_was_restarted,
        retries::i3_what_was_refused_while_the_operator_was_down_is_held_soon_after,
        refuse::i1_i3_the_refused_are_told_why_and_run_soon_after_the_approval,
        refuse::dev_writes_down_somebody_else_as_the_approver,
        refuse::a_gate_of_ones_own_is_lifted_and_deleted_policies_are_restored,
        guard::i1_what_slips_in_while_the_policies_are_gone_is_stopped,
        guard::deleted_policies_are_back_within_a_second,
        guard::edited_policies_are_put_right_within_a_second,
        guard::an_upgrade_after_a_restore_meets_no_conflict_and_no_older_operator,
        guard::what_is_uninstalled_stays_uninstalled_and_held_pods_can_be_let_go,
        guard::a_release_in_another_namespace_takes_over_definitions_and_decisions,
        guard::what_was_restored_goes_with_its_release_in_any_order,
        authors::changes_are_in_the_history_that_came_while_no_operator_ran,
        decisions::an_edited_definition_does_not_make_decisions_mutable,
        guard::i1_a_clearance_that_an_admin_edits_is_restored_and_what_it_let_in_is_stopped,
    ]
}
