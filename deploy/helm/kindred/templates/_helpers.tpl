{{- define "kindred.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}
{{- define "kindred.coordinator" -}}{{ include "kindred.name" . }}-coordinator{{- end }}
{{- define "kindred.tag" -}}{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}

{{- define "kindred.labels" -}}
{{ include "kindred.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "kindred.selector" -}}
app.kubernetes.io/name: kindred
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Where clients and workers find the coordinators: each by its own name, since one of several leads. */}}
{{- define "kindred.addresses" -}}
{{- $names := list }}
{{- range $i := until (int .Values.coordinator.replicas) }}
{{- $names = append $names (printf "%s-%d.%s-peers.%s.svc:%d" (include "kindred.coordinator" $) $i (include "kindred.coordinator" $) $.Release.Namespace (int $.Values.coordinator.service.port)) }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{/* What a container may not do. */}}
{{- define "kindred.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "kindred.pod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
