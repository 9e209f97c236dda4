{{/* What the policies are called, and which they are. */}}
{{- define "assent.policies.names" -}}
[assent-aisystems, assent-approval-stamp, assent-approvals, assent-audit, assent-cronjob, assent-gate, assent-gate-labelled, assent-job, assent-namespaces, assent-operator-only, assent-operator-workloads, assent-pod-create, assent-pod-create-labelled, assent-pod-held, assent-pod-held-labelled, assent-pod-release, assent-pod-release-labelled, assent-pod-update, assent-pod-update-held, assent-pod-update-labelled, assent-preview, assent-risklevels, assent-warn]
{{- end -}}
{{- define "assent.policies.fingerprint" -}}
dd6fef0061a3
{{- end -}}
