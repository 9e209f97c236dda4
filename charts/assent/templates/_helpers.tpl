{{/* The release name and the chart name, joined by a hyphen. Only the release name if it contains the chart name. */}}
{{- define "assent.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "assent.serviceAccountName" -}}
{{ include "assent.fullname" . }}
{{- end -}}

{{/* Whether the API server can add a gate to a pod. Otherwise the API server refuses uncleared pods, and the operator makes
     their workloads retry. Without a cluster, as in `helm template`, the Kubernetes version decides. */}}
{{- define "assent.gates" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}true{{ end -}}
{{- else if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version }}true{{ end -}}
{{- end -}}

{{/* The signs of accelerators in the values, one per line. The operator parses this text. */}}
{{- define "assent.accelerators" -}}
{{- range .Values.accelerators.resources }}resource {{ . }}{{ "\n" }}{{ end }}
{{- range .Values.accelerators.runtimeClasses }}runtimeClass {{ . }}{{ "\n" }}{{ end }}
{{- range .Values.accelerators.variables }}variable {{ . }}{{ "\n" }}{{ end }}
{{- range .Values.accelerators.annotations }}annotation {{ . }}{{ "\n" }}{{ end }}
{{- end -}}

{{/* The fingerprint of the policies of this release: a hash of the policies, and a hash of the values that change
     them. */}}
{{- define "assent.policies" -}}
{{ include "assent.policies.fingerprint" . }}
{{- with include "assent.accelerators" . }}-{{ sha256sum . | trunc 12 }}{{ end }}
{{- end -}}

{{- define "assent.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "assent.labels" -}}
{{ include "assent.selectorLabels" . }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "assent.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Binds the ClusterRole `<fullname>-<.role>` to all users, groups and service accounts in the list `.to`. Renders
     nothing if the list is empty. */}}
{{- define "assent.bind" -}}
{{- $name := printf "%s-%s" (include "assent.fullname" .root) .role -}}
{{- with include "assent.subjects" .to | trim }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "assent.labels" $.root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "assent.subjects" -}}
{{- range . }}
{{- range .users }}
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: {{ quote . }}
{{- end }}
{{- range .groups }}
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: {{ quote . }}
{{- end }}
{{- range .serviceAccounts }}
- kind: ServiceAccount
  namespace: {{ .namespace }}
  name: {{ .name }}
{{- end }}
{{- end }}
{{- end -}}
