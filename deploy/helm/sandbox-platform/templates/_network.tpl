{{- define "sandbox-platform.toPostgres" -}}
{{- if .Values.postgres.trial.enabled -}}
- ports: [{port: 5432}]
  to:
    - podSelector:
        matchLabels: {{- include "sandbox-platform.selector" (dict "root" . "part" "postgres") | nindent 10 }}
{{- else -}}
{{- include "sandbox-platform.toNetworks" (dict "networks" .Values.postgres.external.networks "ports" (list .Values.postgres.external.port)) -}}
{{- end -}}
{{- end -}}

{{/* To these networks, or with none of them to every address, on these ports. */}}
{{- define "sandbox-platform.toNetworks" -}}
- ports:
    {{- range .ports }}
    - port: {{ . }}
    {{- end }}
  {{- with .networks }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* To public addresses, and to the private networks that a setting (comma-separated) opens. */}}
{{- define "sandbox-platform.toInternet" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: {{- toYaml .root.Values.networkPolicy.privateNetworks.ipv4 | nindent 10 }}
    - ipBlock:
        cidr: ::/0
        except: {{- toYaml .root.Values.networkPolicy.privateNetworks.ipv6 | nindent 10 }}
    {{- range splitList "," (.opened | default "") }}
    {{- with trim . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
    {{- end }}
  {{- with .ports }}
  ports:
    {{- range . }}
    - port: {{ . }}
    {{- end }}
  {{- end }}
{{- end -}}
