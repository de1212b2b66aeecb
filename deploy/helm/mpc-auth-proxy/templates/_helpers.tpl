{{- define "mpc-auth-proxy.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "mpc-auth-proxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mpc-auth-proxy.labels" -}}
{{ include "mpc-auth-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .Values.mode }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "mpc-auth-proxy.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "mpc-auth-proxy.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "mpc-auth-proxy.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "mpc-auth-proxy.isEndedByApp" -}}
{{- if and (eq .Values.mode "job") (not .Values.sidecar.native) }}true{{ end -}}
{{- end -}}

{{- /* proxy.yaml: what the mode needs, and over it what `proxy` says. */ -}}
{{- define "mpc-auth-proxy.config" -}}
{{- $source := dict -}}
{{- $sources := 0 -}}
{{- with .Values.credential -}}
{{- if .source }}{{ $source = .source }}{{ $sources = add1 $sources }}{{ end -}}
{{- if .podIdentity }}{{ $source = dict "pod_identity" dict }}{{ $sources = add1 $sources }}{{ end -}}
{{- if .secret -}}
{{- $files := dict "access_key" "../keys/access-key" "secret_key" "../keys/secret-key" -}}
{{- if .securityToken }}{{ $_ := set $files "security_token" "../keys/security-token" }}{{ end -}}
{{- $source = dict "files" $files }}{{ $sources = add1 $sources -}}
{{- end -}}
{{- end -}}
{{- if ne (int $sources) 1 }}{{ fail "credential: exactly one of `secret`, `podIdentity` and `source` (set `secret: \"\"` to leave it out)" }}{{ end -}}
{{- $projects := list -}}
{{- range .Values.projects }}{{ $projects = append $projects (merge (deepCopy .) (dict "credential" "prod")) }}{{ end -}}
{{- $listener := dict "name" "app" "bind" (printf "127.0.0.1:%d" (int .Values.sidecar.port)) -}}
{{- $base := dict "version" 1 "policy" "policy.yaml" "ops" (dict "bind" "0.0.0.0:9090") -}}
{{- if eq .Values.mode "gateway" -}}
{{- $name := include "mpc-auth-proxy.name" . -}}
{{- $hosts := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $tls := dict "certificate" "../tls/tls.crt" "key" "../tls/tls.key" -}}
{{- if .Values.gateway.clientCa }}{{ $_ := set $tls "client_ca" .Values.gateway.clientCa }}{{ $_ := set $tls "client_certificates" "optional" }}{{ end -}}
{{- $listener = dict "name" "gateway" "bind" (printf "0.0.0.0:%d" (int .Values.gateway.port)) "tls" $tls "bearer" true "hosts" (concat $hosts .Values.gateway.hosts) -}}
{{- /* Until nobody sends new connections here any more. */ -}}
{{- $_ := set $base "drain" (dict "delay" "5s" "timeout" "25s") -}}
{{- end -}}
{{- if include "mpc-auth-proxy.isEndedByApp" . -}}
{{- /* The socket is seen by the two containers that mount its folder, and by nobody else. */ -}}
{{- $_ := set $base "admin" (dict "bind" "unix:/run/mpc-auth-proxy/admin.sock" "mode" "0666") -}}
{{- end -}}
{{- $_ := set $base "listeners" (list $listener) -}}
{{- $_ := set $base "projects" $projects -}}
{{- $_ := set $base "credentials" (dict "prod" $source) -}}
{{- mergeOverwrite $base (deepCopy .Values.proxy) | toYaml -}}
{{- end -}}
