{{/* What the policies are called, and which they are. */}}
{{- define "assent.policies.names" -}}
[assent-aisystems, assent-approval-stamp, assent-approvals, assent-cronjob, assent-gate, assent-job, assent-namespaces, assent-operator-only, assent-pod-create, assent-pod-held, assent-pod-release, assent-pod-update, assent-risklevels]
{{- end -}}
{{- define "assent.policies.fingerprint" -}}
1b1a4f757e92
{{- end -}}
