{{- /* The name of everything here: the release's. */ -}}
{{- define "angarium.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* What recognises the pods of a role, given (dict "root" $ "role" "api"). */ -}}
{{- define "angarium.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- /* What everything of a role is labelled with, given the same. */ -}}
{{- define "angarium.labels" -}}
{{ include "angarium.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- /* The Secret that is read. */ -}}
{{- define "angarium.secret" -}}
{{- .Values.secrets.existing | default (include "angarium.name" .) }}
{{- end }}
