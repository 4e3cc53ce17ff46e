{{- define "sandbox-platform.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods are selected. Call with (dict "root" $ "part" "web"). */}}
{{- define "sandbox-platform.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "sandbox-platform.labels" -}}
{{ include "sandbox-platform.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Reference of an image. Call with (dict "root" $ "image" "platform"). A digest decides over the tag. */}}
{{- define "sandbox-platform.image" -}}
{{- $image := index .root.Values.images .image -}}
{{- $repository := $image.repository | default (printf "%s/%s" (required "images.registry is empty: set it to where `make push` has put the images, such as registry.example.com/sandbox-platform" .root.Values.images.registry) .image) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .root.Values.images.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "sandbox-platform.secretName" -}}
{{- .Values.secrets.existingSecret | default (include "sandbox-platform.fullname" .) -}}
{{- end -}}

{{- define "sandbox-platform.postgresHost" -}}
{{- if .Values.postgres.trial.enabled -}}
{{- printf "%s-postgres" (include "sandbox-platform.fullname" .) -}}
{{- else -}}
{{- .Values.postgres.external.host -}}
{{- end -}}
{{- end -}}

{{/* The URL holds no password: each service has its own, in a file, and its role follows from SANDBOX_SERVICE. */}}
{{- define "sandbox-platform.databaseUrl" -}}
{{- $host := include "sandbox-platform.postgresHost" . -}}
{{- if .Values.postgres.trial.enabled -}}
postgresql://sandbox@{{ $host }}:5432/sandbox
{{- else -}}
{{- with .Values.postgres.external -}}
postgresql://{{ .owner }}@{{ $host }}:{{ .port }}/{{ .database }}?sslmode={{ .sslmode }}{{ if .ca.name }}&sslrootcert=/run/database-ca/{{ .ca.key }}{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the migrations are a hook: see values.yaml. */}}
{{- define "sandbox-platform.migrateAsHook" -}}
{{- $possible := and (not .Values.postgres.trial.enabled) .Values.secrets.existingSecret -}}
{{- if or (eq .Values.migrations.hook "always") (and (eq .Values.migrations.hook "auto") $possible) -}}yes{{- end -}}
{{- end -}}

{{- define "sandbox-platform.egressEnabled" -}}
{{- if .Values.egress.enabled -}}yes{{- end -}}
{{- end -}}
