{{/* What each part reads: its name as a service, and its secrets by setting (NAME_FILE) and key of the Secret. */}}
{{- define "sandbox-platform.parts" -}}
migrate:
  secrets:
    DATABASE_PASSWORD: database_owner
    SANDBOX_DATABASE_WEB_PASSWORD: database_web
    SANDBOX_DATABASE_WORKER_PASSWORD: database_worker
    SANDBOX_DATABASE_KEEPER_PASSWORD: database_keeper
    SANDBOX_DATABASE_CALLBACKS_PASSWORD: database_callbacks
    SANDBOX_DATABASE_EGRESS_PASSWORD: database_egress
    {{- if .Values.builder.enabled }}
    SANDBOX_DATABASE_BUILDER_PASSWORD: database_builder
    {{- end }}
    ADMIN_PASSWORD: admin_password
    SANDBOX_EXECUTOR_MANAGER_API_TOKEN: api_token
    SANDBOX_OIDC_CLIENT_SECRET: oidc_client_secret
web:
  service: web
  secrets:
    DATABASE_PASSWORD: database_web
    DJANGO_SECRET_KEY: django_secret_key
    SANDBOX_CALLBACK_KEY: callback_key
    SANDBOX_METRICS_TOKEN: metrics_token
    SANDBOX_OIDC_CLIENT_SECRET: oidc_client_secret
    OTEL_EXPORTER_OTLP_HEADERS: otlp_headers
# One process starts worker and keeper, and each is its own role.
agent:
  service: keeper
  secrets:
    SANDBOX_DATABASE_WORKER_PASSWORD: database_worker
    SANDBOX_DATABASE_KEEPER_PASSWORD: database_keeper
    OTEL_EXPORTER_OTLP_HEADERS: otlp_headers
callbacks:
  service: callbacks
  secrets:
    DATABASE_PASSWORD: database_callbacks
    SANDBOX_CALLBACK_KEY: callback_key
    EMAIL_HOST_PASSWORD: email_password
    OTEL_EXPORTER_OTLP_HEADERS: otlp_headers
egress:
  service: egress
  secrets:
    DATABASE_PASSWORD: database_egress
    SANDBOX_EGRESS_SECRET: egress
    SANDBOX_EGRESS_NODES_SECRET: egress_nodes
    OTEL_EXPORTER_OTLP_HEADERS: otlp_headers
proxy:
  secrets:
    SANDBOX_EGRESS_SECRET: egress
egress-key:
  secrets:
    SANDBOX_EGRESS_NODES_SECRET: egress_nodes
builder:
  service: builder
  secrets:
    DATABASE_PASSWORD: database_builder
seal:
  service: keeper
  secrets:
    DATABASE_PASSWORD: database_keeper
{{- end -}}

{{/* Settings that not every part gets, as in docker-compose.yml. */}}
{{- define "sandbox-platform.settingsOnlyOf" -}}
SANDBOX_LOCAL_LOGIN: [web, migrate]
SANDBOX_SECOND_FACTOR: [web, migrate]
SANDBOX_OIDC_ISSUER: [web, migrate]
SANDBOX_OIDC_NAME: [web, migrate]
SANDBOX_OIDC_CLIENT_ID: [web, migrate]
SANDBOX_OIDC_SCOPES: [web, migrate]
SANDBOX_OIDC_GROUPS_CLAIM: [web, migrate]
SANDBOX_OIDC_ROLES: [web, migrate]
SANDBOX_OIDC_LINK_BY_EMAIL: [web, migrate]
SANDBOX_OIDC_SESSION: [web, migrate]
SANDBOX_OIDC_LOGOUT: [web, migrate]
SANDBOX_WEB_STATEMENT_TIMEOUT: [web, migrate]
SANDBOX_WEB_IDLE_TIMEOUT: [web, migrate]
SANDBOX_EGRESS_NETWORKS: [proxy, migrate]
SANDBOX_EGRESS_DNS: [proxy, migrate]
SANDBOX_SEAL_FINGERPRINT: [agent, callbacks, migrate, seal]
SANDBOX_HEADS_MAIL: [agent, callbacks, migrate, seal]
SANDBOX_HEADS_WEBHOOK: [agent, callbacks, migrate, seal]
SANDBOX_HEADS_SYSLOG: [agent, callbacks, migrate, seal]
EMAIL_PORT: [callbacks]
EMAIL_HOST_USER: [callbacks]
EMAIL_USE_TLS: [callbacks]
EMAIL_USE_SSL: [callbacks]
DEFAULT_FROM_EMAIL: [callbacks]
ADMIN_USERNAME: [migrate]
{{- end -}}

{{- define "sandbox-platform.secretFiles" -}}
{{- $parts := include "sandbox-platform.parts" .root | fromYaml -}}
{{- range $name, $key := (index $parts .part).secrets }}
- name: {{ $name }}_FILE
  value: /run/secrets/{{ $key }}
{{- end }}
{{- end -}}

{{- define "sandbox-platform.chosenSettings" -}}
{{- $onlyOf := include "sandbox-platform.settingsOnlyOf" .root | fromYaml -}}
{{- $part := .part -}}
{{- range $name, $value := .root.Values.settings }}
{{- if or (not (hasKey $onlyOf $name)) (has $part (index $onlyOf $name)) }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Environment of a part. Call with (dict "root" $ "part" "web"). */}}
{{- define "sandbox-platform.env" -}}
{{- $parts := include "sandbox-platform.parts" .root | fromYaml -}}
- name: DATABASE_URL
  value: {{ include "sandbox-platform.databaseUrl" .root | quote }}
- name: SANDBOX_DATABASE_ROLE_PREFIX
  value: {{ .root.Values.postgres.rolePrefix }}
{{- with (index $parts .part).service }}
- name: SANDBOX_SERVICE
  value: {{ . }}
{{- end }}
{{- include "sandbox-platform.secretFiles" . }}
{{- if ne .part "agent" }}
# No node of the cluster: a name for logs and traces.
- name: SANDBOX_NODE
  value: {{ printf "%s-%s" (include "sandbox-platform.fullname" .root) .part }}
{{- end }}
{{- if has .part (list "web" "migrate" "agent" "builder") }}
{{- include "sandbox-platform.imageSource" . }}
{{- end }}
{{- if .root.Values.settings.OTEL_EXPORTER_OTLP_ENDPOINT }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
{{- end }}
{{- include "sandbox-platform.chosenSettings" . }}
{{- end -}}

{{/* Where runtimes' images come from, and who builds further ones. Only agents and builder pull: only they have rights. */}}
{{- define "sandbox-platform.imageSource" -}}
{{- $values := .root.Values }}
- name: SANDBOX_IMAGE_SOURCE
  value: {{ $values.runtimeImages.source }}
{{- if eq $values.runtimeImages.source "registry" }}
- name: SANDBOX_IMAGE_REGISTRY
  value: {{ $values.runtimeImages.registry | default $values.images.registry | quote }}
{{- end }}
{{- if $values.builder.enabled }}
- name: SANDBOX_BUILDER
  value: buildah
{{- end }}
{{- end -}}

{{/* How agents and builder reach the registry. Call with (dict "root" $ "auth" NAME): the Secret of their own. */}}
{{- define "sandbox-platform.registryEnv" -}}
{{- if .auth }}
- {name: SANDBOX_IMAGE_REGISTRY_AUTH_FILE, value: /run/registry-auth/config.json}
{{- end }}
{{- if .root.Values.runtimeImages.ca.name }}
- {name: SANDBOX_IMAGE_REGISTRY_CA_FILE, value: {{ printf "/run/registry-ca/%s" .root.Values.runtimeImages.ca.key }}}
{{- end }}
{{- if .root.Values.runtimeImages.plainHttp }}
- {name: SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP, value: "True"}
{{- end }}
{{- end -}}

{{- define "sandbox-platform.registryMounts" -}}
{{- if .auth }}
- {name: registry-auth, mountPath: /run/registry-auth, readOnly: true}
{{- end }}
{{- if .root.Values.runtimeImages.ca.name }}
- {name: registry-ca, mountPath: /run/registry-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sandbox-platform.registryVolumes" -}}
{{- if .auth }}
- name: registry-auth
  secret:
    secretName: {{ .auth }}
    defaultMode: 0400
    items:
      - {key: .dockerconfigjson, path: config.json}
{{- end }}
{{- with .root.Values.runtimeImages.ca }}
{{- if .name }}
- name: registry-ca
  {{- if eq .kind "ConfigMap" }}
  configMap: {name: {{ .name }}}
  {{- else }}
  secret: {secretName: {{ .name }}}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sandbox-platform.secretMounts" -}}
- {name: secrets-{{ .part }}, mountPath: /run/secrets, readOnly: true}
{{- if and .root.Values.postgres.external.ca.name (not .root.Values.postgres.trial.enabled) }}
- {name: database-ca, mountPath: /run/database-ca, readOnly: true}
{{- end }}
{{- end -}}

{{/* A part gets the keys of its own secrets, no other. */}}
{{- define "sandbox-platform.secretVolumes" -}}
{{- $parts := include "sandbox-platform.parts" .root | fromYaml -}}
{{- $owner := .root.Values.postgres.external.passwordSecret -}}
{{- $external := and (not .root.Values.postgres.trial.enabled) $owner.name -}}
{{- $secret := include "sandbox-platform.secretName" .root -}}
- name: secrets-{{ .part }}
  projected:
    defaultMode: {{ .mode | default 0440 }}
    sources:
      - secret:
          name: {{ $secret }}
          items:
            {{- range $name, $key := (index $parts .part).secrets }}
            {{- if not (and $external (eq $key "database_owner")) }}
            - {key: {{ $key }}, path: {{ $key }}}
            {{- end }}
            {{- end }}
      {{- if and $external (has "database_owner" (values (index $parts .part).secrets)) }}
      - secret:
          name: {{ $owner.name }}
          items:
            - {key: {{ $owner.key }}, path: database_owner}
      {{- end }}
{{- end -}}

{{- define "sandbox-platform.volumes" -}}
{{ include "sandbox-platform.secretVolumes" . }}
{{- if and .root.Values.postgres.external.ca.name (not .root.Values.postgres.trial.enabled) }}
- name: database-ca
  {{- if eq .root.Values.postgres.external.ca.kind "ConfigMap" }}
  configMap: {name: {{ .root.Values.postgres.external.ca.name }}}
  {{- else }}
  secret: {secretName: {{ .root.Values.postgres.external.ca.name }}}
  {{- end }}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: {{ .tmp | default "64Mi" }}}
{{- end -}}
