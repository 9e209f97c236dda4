{{/* The names and the fingerprint of the policies. */}}
{{- define "assent.policies.names" -}}
[assent-aisystems, assent-approval-stamp, assent-approvals, assent-assessments, assent-audit, assent-author, assent-author-stamp, assent-binding, assent-changed-by, assent-changed-by-stamp, assent-cronjob, assent-enforce, assent-evidence, assent-gate, assent-gate-labelled, assent-incident-stamp, assent-incidentnote-stamp, assent-incidentnotes, assent-incidents, assent-job, assent-modelversions, assent-monitors, assent-namespaces, assent-operator-only, assent-operator-workloads, assent-override-stamp, assent-overrides, assent-pod-create, assent-pod-create-labelled, assent-pod-delete, assent-pod-delete-labelled, assent-pod-evict, assent-pod-held, assent-pod-held-labelled, assent-pod-release, assent-pod-release-labelled, assent-pod-update, assent-pod-update-held, assent-pod-update-labelled, assent-preview, assent-record, assent-risklevels, assent-stop-aisystem, assent-stop-approverrole, assent-stop-modelversion, assent-stop-risklevel, assent-stop-trustedsidecar, assent-warn]
{{- end -}}
{{- define "assent.policies.fingerprint" -}}
bf231f04ac1a
{{- end -}}
