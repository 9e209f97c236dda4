{{/* What the policies are called, and which they are. */}}
{{- define "assent.policies.names" -}}
[assent-aisystems, assent-approval-stamp, assent-approvals, assent-gate, assent-namespaces, assent-operator-only, assent-pod-create, assent-pod-held, assent-pod-release, assent-pod-update, assent-risklevels]
{{- end -}}
{{- define "assent.policies.fingerprint" -}}
9a2235171319
{{- end -}}
