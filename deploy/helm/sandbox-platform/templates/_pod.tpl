{{/* What every pod but the agent's has: see Kubernetes' Pod Security Standard "restricted". */}}
{{- define "sandbox-platform.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .group | default .user }}
{{- with .fsGroup }}
fsGroup: {{ . }}
# A change of modes in a database's folder would keep Postgres from starting: only when the volume is new.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "sandbox-platform.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Call with (dict "root" $ "part" "web" "values" .Values.web). */}}
{{- define "sandbox-platform.podCommon" -}}
{{- if not .hook }}
serviceAccountName: {{ include "sandbox-platform.fullname" .root }}
{{- end }}
automountServiceAccountToken: false
# They would set SANDBOX_EXECUTOR_MANAGER_PORT, a setting of the platform, to the address of the web's Service.
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Two replicas of a service are not on one node if it can be helped. */}}
{{- define "sandbox-platform.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "sandbox-platform.selector" . | nindent 8 }}
{{- end -}}

{{/* Annotations that restart the pods when what they read at their start has changed. */}}
{{- define "sandbox-platform.podAnnotations" -}}
{{- if not .root.Values.secrets.existingSecret }}
checksum/secret-values: {{ omit .root.Values.secrets "existingSecret" | toJson | sha256sum }}
{{- end }}
{{- with .values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Waits until the database is migrated for this image and the service's role may use it. Call as podCommon. */}}
{{- define "sandbox-platform.await" -}}
- name: await-migrations
  image: {{ include "sandbox-platform.image" (dict "root" .root "image" (.image | default "platform")) }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  command: [python3, manage.py, await_migrations]
  securityContext: {{- include "sandbox-platform.containerSecurity" . | nindent 4 }}
  env: {{- include "sandbox-platform.env" . | nindent 4 }}
  resources:
    requests: {cpu: 50m, memory: 128Mi}
    limits: {memory: 512Mi}
  volumeMounts:
    {{- include "sandbox-platform.secretMounts" . | nindent 4 }}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* The service renews a file while it has its lock in Postgres. Not a reason to restart it: Postgres may be away. */}}
{{- define "sandbox-platform.aliveProbes" -}}
readinessProbe:
  exec:
    command: [sh, -c, 'test -n "$(find /tmp/alive.{{ . }} -mmin -1)"']
  periodSeconds: 10
  timeoutSeconds: 10
{{- end -}}
